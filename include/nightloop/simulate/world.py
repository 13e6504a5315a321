"""Write a simulated world's files into the landing zone, and tell exactly what is wrong in them."""

import os
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightloop.fault import Fault, NightloopError
from nightloop.folders.use_case import UseCase
from nightloop.simulate import loan, taxi
from nightloop.simulate.draw import Draw
from nightloop.simulate.feed import Feed, World
from nightloop.simulate.params import DRIFT_KINDS, Drift, FaultParams
from nightloop.simulate.plan import BAD_KINDS, Plan, PlannedFile

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

WORLDS: Mapping[str, World] = {"taxi_duration": taxi.WORLD, "loan_default": loan.WORLD}
_ROWS_PER_PART = 1_000_000
_READ_BYTES = 1 << 22
_PLAN_SCHEMA = (
    "file STRING, kind STRING, topic STRING, months BIGINT, ordinal BIGINT, as_of_seconds BIGINT,"
    " before_seconds BIGINT, first BIGINT, last BIGINT, "
) + ", ".join(f"{kind} DOUBLE" for kind in DRIFT_KINDS)


@dataclass(frozen=True)
class SourceNight:
    """What one source's files that belong to one night hold. Every row not counted as bad or duplicate is good."""

    source: str
    as_of: datetime
    files: tuple[str, ...]
    rows: int
    bad: Mapping[str, int]
    duplicates: int
    corrected: int
    tombstones: int
    late_files: int
    late_rows: int

    @property
    def quarantined(self) -> int:
        """Rows that a night must set aside: all the bad ones."""
        return sum(self.bad.values())


@dataclass(frozen=True)
class SimulationReport:
    """What was written, by source and the night to which the files belong."""

    nights: tuple[SourceNight, ...]

    def of(self, source: str, as_of: datetime) -> SourceNight:
        return next(night for night in self.nights if (night.source, night.as_of) == (source, as_of))

    def total(self, source: str, count: str) -> int:
        """Sum one count over all nights, e.g. `rows` or `quarantined`."""
        return sum(int(getattr(night, count)) for night in self.nights if night.source == source)


def simulate(
    use_case: UseCase,
    spark: "SparkSession",
    landing: str | Path,
    nights: Sequence[datetime],
    rows_per_night: int,
    *,
    seed: int = 7,
    drifts: Sequence[Drift] = (),
    faults: FaultParams | None = None,
) -> SimulationReport:
    """Write the files that arrive for the given nights, each whole at once and dated with its simulated arrival.

    Every value is a function of (seed, night, row), so one night made alone equals the same night made among others.

    Raises:
        NightloopError: nobody simulates this use case, or the landing zone is no folder of this machine.
    """
    world = _find_world(use_case)
    folder = _find_folder(landing)
    plan = Plan(
        use_case.schedule,
        use_case.start,
        rows_per_night,
        world.season,
        world.season_by,
        tuple(drifts),
        FaultParams() if faults is None else faults,
    )
    # `date_format` writes in the session's zone
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    reports: list[SourceNight] = []
    for feed in world.feeds:
        planned = [file for night in sorted(nights) if plan.exists(night) for file in feed.plan_files(plan, night)]
        files = [file for file in planned if file.portions or not file.is_late]
        if files:
            rows = _write_feed(spark, feed, plan, files, folder, Draw(seed))
            reports.extend(_report(feed, files, rows))
    return SimulationReport(tuple(reports))


def _find_world(use_case: UseCase) -> World:
    if use_case.name not in WORLDS:
        expected = f"one of {', '.join(sorted(WORLDS))}"
        raise NightloopError(Fault("simulate", expected, use_case.name, "bring your own files for other use cases"))
    return WORLDS[use_case.name]


def _find_folder(landing: str | Path) -> Path:
    if "://" in str(landing):
        found = str(landing)
        raise NightloopError(Fault("landing zone", "a folder of this machine", found, "simulate there, then copy"))
    return Path(landing)


def _write_feed(
    spark: "SparkSession", feed: Feed, plan: Plan, files: Sequence[PlannedFile], landing: Path, draw: Draw
) -> dict[str, int]:
    """Write all files of one source with one Spark job; return the rows of each."""
    # on the same disk, so that a part lands by a rename, and hidden from whoever lists the landing zone meanwhile
    staging = landing / f".simulating-{uuid.uuid4().hex}"
    try:
        lines = _write_lines(_plan_rows(spark, plan, files), feed, draw)
        parts = {(file.stem, number) for file in files for number in range(_count_parts(file))}
        header = ",".join(feed.columns)
        heads = spark.createDataFrame(
            # the least BIGINT: a header sorts before every line, whose place is a hash
            [(stem, number, -(2**63), header) for stem, number in sorted(parts)],
            "file STRING, part BIGINT, place BIGINT, line STRING",
        )
        # a part lies whole in one task, which writes it as one file: `_land` finds exactly one
        whole = lines.unionByName(heads).repartition(max(1, min(len(parts), 512)), "file", "part")
        ordered = whole.sortWithinPartitions("file", "part", "place", "line").drop("place")
        ordered.write.partitionBy("file", "part").text(str(staging))
        return {file.stem: _land(staging, landing / feed.source, file) for file in files}
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _plan_rows(spark: "SparkSession", plan: Plan, files: Sequence[PlannedFile]) -> "DataFrame":
    """Return one row per line to write: the numbers from which everything else is drawn."""
    from pyspark.sql import functions as F

    portions = [
        (
            file.stem,
            portion.kind,
            portion.topic,
            portion.months,
            int(portion.cohort.timestamp()) // 3600,
            int(portion.cohort.timestamp()),
            int(plan.before(portion.cohort).timestamp()),
            portion.first,
            portion.last,
            *plan.strengths(portion.cohort).values(),
        )
        for file in files
        for portion in file.portions
    ]
    planned = spark.createDataFrame(portions, _PLAN_SCHEMA)
    longest = max((portion.last for file in files for portion in file.portions), default=0)
    numbers = spark.range(longest).withColumnRenamed("id", "row")
    is_inside = (F.col("row") >= F.col("first")) & (F.col("row") < F.col("last"))
    return numbers.join(F.broadcast(planned), is_inside)


def _write_lines(rows: "DataFrame", feed: Feed, draw: Draw) -> "DataFrame":
    """Turn planned rows into CSV lines, each fault as ordered."""
    from pyspark.sql import functions as F

    text: dict[str, Any] = {column: F.coalesce(F.col(column).cast("string"), F.lit("")) for column in feed.columns}
    spoilt = {"unparseable": feed.unparseable, "out_of_range": feed.out_of_range, "missing_key": (feed.missing_key, "")}
    for kind, (column, value) in spoilt.items():
        text[column] = F.when(F.col("kind") == kind, F.lit(value)).otherwise(text[column])
    for column, value in feed.correction.items():
        text[column] = F.when(F.col("kind") == "correction", F.lit(value)).otherwise(text[column])
    if feed.tombstone:
        text[feed.tombstone] = F.when(F.col("kind") == "tombstone", F.lit("true")).otherwise(text[feed.tombstone])
    cut = F.concat(F.lit("#"), text[feed.columns[0]])
    line = F.when(F.col("kind") == "malformed", cut).otherwise(F.concat_ws(",", *text.values()))
    return feed.write_rows(rows, draw).select(
        "file",
        F.floor(F.col("row") / _ROWS_PER_PART).alias("part"),
        draw.hash("place").alias("place"),
        line.alias("line"),
    )


def _count_parts(file: PlannedFile) -> int:
    return 1 + max((portion.last - 1 for portion in file.portions), default=0) // _ROWS_PER_PART


def _land(staging: Path, folder: Path, file: PlannedFile) -> int:
    """Move a file's parts to where they arrive, dated with the simulated arrival; return their rows."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = 0
    for number in range(_count_parts(file)):
        (part,) = (staging / f"file={file.stem}" / f"part={number}").glob("part-*")
        rows += _count_lines(part) - 1
        # before the move: a landing zone's listing takes a file's date for its arrival
        os.utime(part, (file.arrived_at.timestamp(),) * 2)
        suffix = "" if number == 0 else f"-{number:04d}"
        part.replace(folder / f"{file.stem}{suffix}.csv")
    return rows


def _count_lines(file: Path) -> int:
    with file.open("rb") as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(_READ_BYTES), b""))


def _report(feed: Feed, files: Sequence[PlannedFile], rows: Mapping[str, int]) -> Iterator[SourceNight]:
    for as_of in sorted({file.as_of for file in files}):
        own = [file for file in files if file.as_of == as_of]
        counts: Counter[str] = Counter()
        for file in own:
            for portion in file.portions:
                counts[portion.kind] += portion.rows
        late = [file for file in own if file.is_late]
        yield SourceNight(
            source=feed.source,
            as_of=as_of,
            files=tuple(file.stem for file in own),
            rows=sum(rows[file.stem] for file in own),
            bad={kind: counts[kind] for kind in BAD_KINDS},
            duplicates=counts["duplicate"],
            corrected=counts["correction"],
            tombstones=counts["tombstone"],
            late_files=len(late),
            late_rows=sum(rows[file.stem] for file in late),
        )
