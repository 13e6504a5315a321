"""Plan what a run of `land_source` loads of what has arrived: files kept, waiting, known already, or broken."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from nightloop.etl.arrivals import Assignment, drop_loaded, restore_assignment
from nightloop.etl.contract import check_columns
from nightloop.etl.header import read_columns
from nightloop.etl.places import locate_records
from nightloop.etl.read import RawFile
from nightloop.fault import Fault, NightloopError
from nightloop.folders.source import Source
from nightloop.loop.night.arrived import Arrived, arrival_of, look_at_landing
from nightloop.run import Replay
from nightloop.stores.landing.landing import LandedFile, compute_checksum, fetch_file, find_growing, open_file
from nightloop.stores.ledger.ledger import Ledger
from nightloop.stores.ledger.rows import FileRow
from nightloop.verdict import Check


@dataclass(frozen=True)
class LandedLoad:
    """The files to read, where each lies, those left out, and kept nights.

    `skipped` are files whose content was loaded before; `waiting` ones are still being written, and belong to the night
    in which they are whole. A kept night is closed, and a file of it has left the landing zone or was rewritten by an
    erasure: its raw partition stays as it is, and the numbers of its rows with it.
    """

    files: tuple[RawFile, ...]
    landed: Mapping[str, LandedFile]
    late: frozenset[str]
    skipped: tuple[Assignment, ...]
    waiting: tuple[Assignment, ...]
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


def plan_load(source: Source, replay: Replay, ledger: Ledger, landing: str, fetch_to: Path | None = None) -> LandedLoad:
    """Return the files that the replay's nights take, their columns checked.

    `fetch_to` is a folder for copies of S3 objects, where the engine reads local files only.

    Raises:
        NightloopError: files whose columns are not the contract's, each named; a recorded file that is gone.
    """
    arrived = look_at_landing(source, ledger, landing, replay.variant)
    again = [row for row in arrived.recorded if row.as_of in replay.nights]
    kept = _kept_nights(again, arrived)
    known = [(_restore(row, arrived), row.checksum) for row in again if row.as_of not in kept]
    nights = [night for night in replay.nights if night not in arrived.closed and night <= replay.knowledge]
    new, waiting = _look_twice(arrived, arrived.claims(nights))
    new, skipped = drop_loaded(new, arrived.manifest)
    chosen = [*known, *new]
    landed = [(assignment, checksum, arrived.listing[assignment.arrival]) for assignment, checksum in chosen]
    if fetch_to is not None:
        landed = [(claim, checksum, _fetch(file, checksum, fetch_to)) for claim, checksum, file in landed]
    return LandedLoad(
        _check_files(source, landed),
        {checksum: file for _, checksum, file in landed},
        frozenset(checksum for assignment, checksum in chosen if assignment.is_late),
        tuple(skipped),
        tuple(waiting),
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
    skipped, waiting = (
        [assignment.arrival.path for assignment in left if assignment.as_of == as_of]
        for left in (load.skipped, load.waiting)
    )
    is_kept = as_of in load.kept
    return [
        Check("files", "pass" if files or is_kept else "warn", len(files), 1, "kept as loaded" if is_kept else ""),
        *(
            Check(name, "warn", len(names), 0, ", ".join(names)[:1000])
            for name, names in (
                ("late_files", late),
                ("skipped_files", skipped),
                ("waiting_files", waiting),
                ("new_columns", added),
                ("absent_columns", absent),
            )
            if names
        ),
    ]


def _kept_nights(recorded: Sequence[FileRow], arrived: Arrived) -> frozenset[datetime]:
    gone = [row for row in recorded if arrival_of(row) not in arrived.listing]
    faults = [
        Fault(f"landed file {row.path}", f"the file recorded for {row.as_of.isoformat()}", "none", "put it back")
        for row in gone
        if row.as_of not in arrived.closed
    ]
    if faults:
        raise NightloopError(faults)
    return frozenset(row.as_of for row in recorded if row.as_of in arrived.closed and not _is_as_received(row, arrived))


def _is_as_received(row: FileRow, arrived: Arrived) -> bool:
    """Tell whether a recorded file lies there with its content; an erasure takes rows out and renumbers others."""
    file = arrived.listing.get(arrival_of(row))
    return file is not None and compute_checksum(file) == row.checksum


def _restore(row: FileRow, arrived: Arrived) -> Assignment:
    known_at = row.known_at or row.arrived_at
    return restore_assignment(arrival_of(row), row.as_of, known_at, arrived.calendar, arrived.source.known_at)


def _look_twice(
    arrived: Arrived, claims: Sequence[Assignment]
) -> tuple[list[tuple[Assignment, str]], list[Assignment]]:
    """Split claims into whole files with their checksums, and those that wait: without a marker, or still changing."""
    files = {claim.arrival: arrived.listing[claim.arrival] for claim in claims}
    checksums = {file: compute_checksum(file) for file in files.values() if file.is_complete}
    growing = find_growing(checksums)
    whole = {arrival: checksums[file] for arrival, file in files.items() if file in checksums and file not in growing}
    new = [(claim, whole[claim.arrival]) for claim in claims if claim.arrival in whole]
    return new, [claim for claim in claims if claim.arrival not in whole]


def _fetch(file: LandedFile, checksum: str, folder: Path) -> LandedFile:
    return file if file.is_local else fetch_file(file, checksum, folder)


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
