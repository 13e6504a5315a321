"""Readmission: what a mended source takes up again, and what a night inherits from earlier ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nightloop.dataset import DatasetRef
from nightloop.fault import Fault, NightloopError
from nightloop.folders.schedule import next_tick
from nightloop.folders.source import Source
from nightloop.run import MAIN_VARIANT, Replay, format_night, parse_instant
from nightloop.stores.ledger.ledger import Ledger
from nightloop.stores.ledger.rows import ReadmissionRow

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from nightloop.etl.readmission import Earlier
    from nightloop.stores.lake.lake import Lake

Rows = Mapping[str, set[int]]

_ALL = datetime(1900, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which quarantined rows a person asks for: days of their nights (both included), a file, a rule; None is any."""

    first: datetime | None = None
    last: datetime | None = None
    file: str | None = None
    rule: str | None = None


def read_selection(options: Mapping[str, str]) -> Selection:
    """Parse the options `set_aside_from`, `set_aside_to` (days), `file` and `rule`.

    Raises:
        NightloopError: a day is none.
    """
    days: dict[str, datetime | None] = {}
    for name in ("set_aside_from", "set_aside_to"):
        try:
            days[name] = parse_instant(options[name]) if options.get(name) else None
        except ValueError as error:
            raise NightloopError(Fault(name, "a day like 2025-01-05", options[name], "correct the form")) from error
    return Selection(
        days["set_aside_from"], days["set_aside_to"], options.get("file") or None, options.get("rule") or None
    )


def find_open_night(source: Source, as_of: datetime, ledger: Ledger) -> datetime:
    """Return the first night from `as_of` on that has not closed: like a late file, the rows belong to it."""
    closed = set(ledger.closed_nights(source.name))
    while as_of in closed:
        as_of = next_tick(source.schedule, as_of)
    return as_of


def choose_rows(
    source: Source,
    selection: Selection,
    night: datetime,
    before: Sequence[ReadmissionRow],
    lake: "Lake",
    ledger: Ledger,
) -> Rows:
    """Return the rows by file checksum that fit the selection, lie in closed nights before `night`, and may come back.

    A row that was readmitted `before` is not chosen again, nor one that no change of the folder can mend.
    """
    from pyspark.sql import functions as F

    from nightloop.etl.readmission import UNMENDABLE, name_rows

    closed = [each for each in ledger.closed_nights(source.name) if each < night and _is_asked(each, selection)]
    aside = lake.read_or_none(DatasetRef("quarantine", source.name), MAIN_VARIANT, closed) if closed else None
    if aside is None:
        return {}
    aside = aside.where(~F.arrays_overlap("rules", F.array(*map(F.lit, UNMENDABLE))))
    if selection.file:
        aside = aside.where(F.col("_file") == selection.file)
    if selection.rule:
        aside = aside.where(F.array_contains("rules", selection.rule))
    if before:
        named = name_rows(lake.spark, [(each.as_of, each.checksum, each.rows) for each in before])
        taken = named.select("_checksum", "_row", F.date_format("_as_of", "yyyyMMdd'T'HHmm'Z'").alias("_taken_by"))
        is_taken = (aside["_checksum"] == taken["_checksum"]) & (aside["_row"] == taken["_row"])
        # set aside in the very night that had taken it up again, a row may be asked for once more
        aside = aside.join(taken, is_taken & (taken["_taken_by"] > aside["night"]), "left_anti")
    return collect_rows(aside)


def collect_rows(rows: "DataFrame") -> Rows:
    """Return the row numbers of a frame by checksum."""
    from pyspark.sql import functions as F

    found = rows.groupBy("_checksum").agg(F.collect_set("_row").alias("rows")).collect()
    return {row["_checksum"]: set(row["rows"]) for row in found}


def describe_rows(
    source: Source, night: datetime, rows: Rows, ledger: Ledger, actor: str, why: str
) -> list[ReadmissionRow]:
    """Return the readmission of rows as the ledger keeps it, one row per file."""
    from nightloop.etl.readmission import pack_rows

    received = {file.checksum: file.as_of for file in ledger.files(source.name, _ALL, night)}
    return [
        ReadmissionRow(source.name, night, checksum, received[checksum], pack_rows(numbers), actor, why)
        for checksum, numbers in sorted(rows.items())
        if numbers
    ]


def read_readmitted(readmissions: Sequence[ReadmissionRow], lake: "Lake") -> "DataFrame | None":
    """Return the raw rows of readmissions, dated to the nights that take them up; None where there is none."""
    from nightloop.etl.readmission import name_rows, redate_rows

    received = sorted({each.received_as_of for each in readmissions})
    if not received:
        return None
    raw = lake.read_or_none(DatasetRef("raw", readmissions[0].scope), MAIN_VARIANT, received)
    named = name_rows(lake.spark, [(each.as_of, each.checksum, each.rows) for each in readmissions])
    return None if raw is None else redate_rows(raw, named)


def read_earlier(
    source: Source, replay: Replay, readmissions: Sequence[ReadmissionRow], lake: "Lake", ledger: Ledger
) -> "Earlier":
    """Return what the nights of a replay inherit; a closed night keeps aside what it set aside when it closed."""
    from nightloop.etl.readmission import Earlier

    closed = sorted({*ledger.closed_nights(source.name, replay.variant)} & {*replay.nights})
    aside, clean = DatasetRef("quarantine", source.name), DatasetRef("clean", source.name)
    kept = lake.read_or_none(aside, replay.variant, closed) if closed else None
    published = None
    if readmissions and lake.exists(clean):
        others = [format_night(night) for night in replay.nights]
        first = min(each.received_as_of for each in readmissions)
        stored = lake.read(clean, replay.variant, first, replay.last)
        # what these nights published before is what the run replaces
        published = stored.where(~stored["night"].isin(others))
    return Earlier(read_readmitted(readmissions, lake), published, kept)


def _is_asked(night: datetime, selection: Selection) -> bool:
    is_early = selection.first is not None and night < selection.first
    is_late = selection.last is not None and night >= selection.last + _DAY
    return not is_early and not is_late
