"""Plan what a run of `land_source` loads: landing zone, manifest and closed nights brought together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from nightloop.etl.arrivals import (
    HISTORY,
    Arrival,
    Assignment,
    Calendar,
    Manifest,
    assign_files,
    drop_loaded,
    restore_assignment,
)
from nightloop.etl.header import check_columns, read_columns
from nightloop.etl.places import locate_records
from nightloop.etl.read import RawFile
from nightloop.fault import Fault, NightloopError
from nightloop.run import MAIN_VARIANT, Replay
from nightloop.schedule import first_tick_at_or_after, next_tick, previous_tick
from nightloop.source import Source
from nightloop.stores.landing import LandedFile, compute_checksum, list_files, open_file
from nightloop.stores.ledger import FileRow, Ledger
from nightloop.verdict import Check

_FAR = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class LandedLoad:
    """The files to read, where each lies, those left out because their content was loaded before, and kept nights.

    A kept night is closed, and its files have left the landing zone: its raw partition stays as it is.
    """

    files: tuple[RawFile, ...]
    landed: Mapping[str, LandedFile]
    late: frozenset[str]
    skipped: tuple[Assignment, ...]
    kept: frozenset[datetime]

    def replay_of_files(self, replay: Replay) -> Replay:
        """Return the part of the replay that files belong to: a night without files is not replaced."""
        return replace(replay, nights=tuple(sorted({file.as_of for file in self.files})))

    def file_rows(self, received: Mapping[str, int]) -> list[FileRow]:
        return [
            FileRow(
                f.path,
                f.checksum,
                self.landed[f.checksum].size,
                f.arrived_at,
                f.known_at,
                f.as_of,
                received[f.checksum],
            )
            for f in self.files
        ]

    def counts(self, as_of: datetime, received: Mapping[str, int]) -> dict[str, int]:
        files = [file for file in self.files if file.as_of == as_of]
        skipped = sum(assignment.as_of == as_of for assignment in self.skipped)
        return {"files": len(files), "skipped": skipped, "received": sum(received[file.checksum] for file in files)}


def plan_load(source: Source, replay: Replay, ledger: Ledger, landing: str) -> LandedLoad:
    """Return the files that the replay's nights take, their columns checked.

    Raises:
        NightloopError: files whose columns are not the contract's, each named; a recorded file that is gone.
    """
    is_main = replay.variant == MAIN_VARIANT
    listing = {Arrival(file.path, file.size, file.arrived_at): file for file in list_files(source.uri, landing)}
    recorded = ledger.files(source.name, HISTORY, _FAR) if is_main else []
    closed = set(ledger.closed_nights(source.name, replay.variant))
    calendar = Calendar(
        *(partial(find, source.schedule) for find in (first_tick_at_or_after, next_tick, previous_tick))
    )
    manifest = Manifest(
        {row.checksum: row.as_of for row in recorded},
        {Arrival(row.path, row.size, row.arrived_at): row.checksum for row in recorded},
    )
    again = [row for row in recorded if row.as_of in replay.nights]
    kept = _kept_nights(again, listing, closed)
    known = [
        (
            restore_assignment(arrival, row.as_of, row.known_at or row.arrived_at, calendar, source.known_at),
            row.checksum,
        )
        for row in again
        for arrival in [Arrival(row.path, row.size, row.arrived_at)]
        if row.as_of not in kept
    ]
    nights = [night for night in replay.nights if night not in closed and night <= replay.knowledge]
    fresh = assign_files(listing, manifest, closed, calendar, nights, source.known_at) if nights else []
    new, skipped = drop_loaded([(each, compute_checksum(listing[each.arrival])) for each in fresh], manifest)
    chosen = [*known, *new]
    return LandedLoad(
        _check_files(source, [(assignment, checksum, listing[assignment.arrival]) for assignment, checksum in chosen]),
        {checksum: listing[assignment.arrival] for assignment, checksum in chosen},
        frozenset(checksum for assignment, checksum in chosen if assignment.is_late),
        tuple(skipped),
        kept,
    )


def locate_broken(
    source: Source, load: LandedLoad, broken: Mapping[str, tuple[int, Sequence[int]]]
) -> list[tuple[str, int, int, int]]:
    """Return (checksum, row, offset, length) of lines that did not parse; `broken`: rows of each file, and those."""
    places = []
    for checksum, (rows, numbers) in broken.items():
        with open_file(load.landed[checksum]) as stream:
            spans = locate_records(stream, source.format, numbers, rows)
        places += [(checksum, number, *span) for number, span in spans.items()]
    return places


def load_checks(load: LandedLoad, as_of: datetime) -> list[Check]:
    """Return what a person should know of a night's files."""
    files = [file for file in load.files if file.as_of == as_of]
    late = [file.path for file in files if file.checksum in load.late]
    added = sorted({name for file in files for name in file.schema.added})
    absent = sorted({name for file in files for name in file.schema.absent})
    skipped = [assignment.arrival.path for assignment in load.skipped if assignment.as_of == as_of]
    is_kept = as_of in load.kept
    return [
        Check("files", "pass" if files or is_kept else "warn", len(files), 1, "kept as loaded" if is_kept else ""),
        *(
            Check(name, "warn", len(names), 0, ", ".join(names)[:1000])
            for name, names in (
                ("late_files", late),
                ("skipped_files", skipped),
                ("new_columns", added),
                ("absent_columns", absent),
            )
            if names
        ),
    ]


def _kept_nights(
    recorded: list[FileRow], listing: Mapping[Arrival, LandedFile], closed: set[datetime]
) -> frozenset[datetime]:
    gone = [row for row in recorded if Arrival(row.path, row.size, row.arrived_at) not in listing]
    faults = [
        Fault(f"landed file {row.path}", f"the file recorded for {row.as_of.isoformat()}", "none", "put it back")
        for row in gone
        if row.as_of not in closed
    ]
    if faults:
        raise NightloopError(faults)
    return frozenset(row.as_of for row in gone)


def _check_files(source: Source, chosen: list[tuple[Assignment, str, LandedFile]]) -> tuple[RawFile, ...]:
    files: list[RawFile] = []
    faults: list[Fault] = []
    for assignment, checksum, landed in chosen:
        try:
            with open_file(landed) as stream:
                columns = read_columns(stream, source.format, landed.path)
            schema = check_columns(landed.path, columns, source.read)
        except NightloopError as error:
            faults += error.faults
            continue
        files.append(
            RawFile(
                landed.address,
                landed.path,
                checksum,
                landed.arrived_at,
                assignment.as_of,
                assignment.known_at,
                assignment.known_by,
                schema,
            )
        )
    if faults:
        raise NightloopError(faults)
    return tuple(files)
