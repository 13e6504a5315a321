"""Proof that stored features knew nothing of their future: without it, they come out the same."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nightloop.asof.visible import AsofSource
from nightloop.run import format_night

RELATIVE_TOLERANCE = 1e-9  # a sum of floats depends on the order of its terms, and that on the engine
Rows = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that was stored otherwise than it is recomputed; of a row that only one side has, `column` is *."""

    row_id: str
    column: str
    stored: object
    recomputed: object

    def __str__(self) -> str:
        return f"row {self.row_id}, {self.column}: stored {self.stored}, recomputed {self.recomputed}"


@dataclass(frozen=True, slots=True)
class Sample:
    """The stored rows whose ids hash lowest, by row id; `highest` is the last hash of them, None if these are all."""

    rows: Rows
    highest: int | None

    @classmethod
    def draw(cls, stored: DataFrame, most: int) -> "Sample":
        """Draw at most so many rows; the same rows each time."""
        lowest = stored.withColumn("_hash", F.xxhash64("row_id")).orderBy("_hash", "row_id").limit(most).collect()
        highest = lowest[-1]["_hash"] if len(lowest) == most else None
        return cls(read_rows(lowest), highest)

    def select(self, spine: DataFrame) -> DataFrame:
        """Return the spine's rows that the sample would hold, were they stored."""
        return spine if self.highest is None else spine.where(F.xxhash64("row_id") <= self.highest)


def read_rows(collected: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """Return collected rows by row id, less what says where they were stored."""
    aside = {"row_id", "night", "variant", "_hash"}
    return {row["row_id"]: {name: row[name] for name in row.asDict() if name not in aside} for row in collected}


def delete_future(source: AsofSource, night: datetime, last_tick: datetime, next_tick: datetime) -> AsofSource:
    """Return the source with those rows only that the night could know.

    They were known by then and loaded by then. History that a column declares counts although it was loaded later, but
    not what the source's next tick declares of the time since `last_tick`, its last one at or before the night.
    """
    is_loaded = F.col("night") <= format_night(night)
    if source.opened is not None:
        is_older = (F.col("known_at") <= F.lit(last_tick)) | (F.col("night") > format_night(next_tick))
        is_loaded = is_loaded | ((F.col("known_by") == "declared") & is_older)
    return replace(source, rows=source.rows.where((F.col("known_at") <= F.lit(night)) & is_loaded))


def find_differences(stored: Rows, recomputed: Rows) -> list[Difference]:
    """Compare rows by id, value by value; floats may differ by their rounding."""
    differences = []
    for row_id in sorted({*stored, *recomputed}):
        before, after = stored.get(row_id), recomputed.get(row_id)
        if before is None or after is None:
            present = ["absent" if row is None else "present" for row in (before, after)]
            differences.append(Difference(row_id, "*", *present))
            continue
        differences += [
            Difference(row_id, name, before.get(name), after.get(name))
            for name in {**before, **after}
            if not _is_equal(before.get(name), after.get(name))
        ]
    return differences


def _is_equal(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=RELATIVE_TOLERANCE) or (math.isnan(one) and math.isnan(other))
    return one == other
