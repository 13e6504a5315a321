"""Profile every row of many nights in one pass of Spark: histograms on pinned bins, missing values, category counts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from nightloop.drift.distance import Kind
from nightloop.drift.history import OTHER
from nightloop.run import parse_night

Bins = Mapping[str, tuple[float, ...]]

TOP_CATEGORIES = 50
_BINS = 10
_QUANTILE_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """One column in one night. `counts` holds rows per bin ("0" is below the first edge) or per category.

    A night with fewer rows than asked for has no counts: it can be no evidence, and its histogram no baseline.
    """

    as_of: datetime
    column: str
    kind: Kind
    rows: int
    missing: int
    edges: tuple[float, ...]
    counts: Mapping[str, int]


def profile_frame(
    frame: DataFrame, numeric: Sequence[str], categorical: Sequence[str], bins: Bins, min_rows: int = 1
) -> list[ColumnProfile]:
    """Return one profile per night and column of a frame that has a `night` column, by night and column.

    NaN and null are missing. Of categories the most frequent of the night are kept by name, the others in one count.
    Each row is read once, however many nights and columns there are.
    """
    kinds: dict[str, Kind] = {**dict.fromkeys(numeric, "numeric"), **dict.fromkeys(categorical, "categorical")}
    if not kinds:
        return []
    cells = [_cell(column, _bin(column, bins[column])) for column in numeric]
    cells += [_cell(column, F.col(column).cast("string")) for column in categorical]
    counted = (
        frame.select("night", F.explode(F.array(*cells)).alias("cell"))
        .groupBy("night", "cell.column", "cell.value")
        .agg(F.count("*").alias("rows"))
    )
    profiles = _fold(_keep_frequent(counted), kinds, bins)
    return [profile if profile.rows >= min_rows else _without_counts(profile) for profile in profiles]


def choose_bins(frame: DataFrame, numeric: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Return the bin edges of numeric columns from the rows of one night: deciles, and as much again on either side.

    Above the limit of rows a fixed part of them is used, picked by a hash of `row_id`: the same rows each time.
    """
    if not numeric:
        return {}
    share = max(1, -(-frame.count() // _QUANTILE_ROWS))
    sampled = frame.where(F.pmod(F.xxhash64("row_id"), F.lit(share)) == 0)
    steps = F.array(*(F.lit(step / _BINS) for step in range(_BINS + 1)))
    quantiles = sampled.select(*(F.percentile(_number(column), steps).alias(column) for column in numeric)).head()
    assert quantiles is not None  # noqa: S101 - an aggregate without groups has one row
    return {column: place_edges(quantiles[column] or ()) for column in numeric}


def select_first_full(frame: DataFrame, min_rows: int) -> DataFrame | None:
    """Return the rows of the first night that has enough of them; None where no night has."""
    sizes = frame.groupBy("night").count().where(F.col("count") >= min_rows).agg(F.min("night").alias("night")).head()
    return frame.where(F.col("night") == sizes["night"]) if sizes is not None and sizes["night"] else None


def list_empty(
    nights: Sequence[datetime], profiles: Sequence[ColumnProfile], numeric: Sequence[str], categorical: Sequence[str]
) -> list[ColumnProfile]:
    """Return profiles of no rows for the nights that have none: a night that ran and was empty is evidence."""
    empty = sorted(set(nights) - {profile.as_of for profile in profiles})
    kinds: dict[str, Kind] = {**dict.fromkeys(numeric, "numeric"), **dict.fromkeys(categorical, "categorical")}
    return [ColumnProfile(night, column, kind, 0, 0, (), {}) for night in empty for column, kind in kinds.items()]


def place_edges(quantiles: Sequence[float]) -> tuple[float, ...]:
    """Return rising edges from quantiles, minimum and maximum included, with one bin as wide as the range on each side.

    The two open bins beyond them hold what is far from anything seen before. A column of one value has one edge.

    >>> place_edges([1.0, 2.0, 2.0, 5.0])
    (-3.0, 1.0, 2.0, 5.0, 9.0)
    """
    edges = sorted({float(value) for value in quantiles if value is not None}) or [0.0]
    if len(edges) == 1:
        return tuple(edges)
    width = edges[-1] - edges[0]
    return (edges[0] - width, *edges, edges[-1] + width)


def _cell(column: str, value: Column) -> Column:
    return F.struct(F.lit(column).alias("column"), value.alias("value"))


def _number(column: str) -> Column:
    value = F.col(column).cast("double")
    return F.when(~F.isnan(value), value)


def _bin(column: str, edges: tuple[float, ...]) -> Column:
    """Return the bin's number as text: how many edges lie at or below the value; the last edge belongs to its bin."""
    value = _number(column)
    reached = [(value >= F.lit(edge)).cast("int") for edge in (edges[:-1] or edges)]
    beyond = (value > F.lit(edges[-1])).cast("int")
    total = beyond
    for step in reached:
        total = total + step
    return total.cast("string")


def _keep_frequent(counted: DataFrame) -> DataFrame:
    """Fold all but the most frequent values of a night and column into one; bins are fewer than that."""
    by_rows = Window.partitionBy("night", "column").orderBy(F.col("value").isNull().desc(), F.desc("rows"), "value")
    is_kept = F.col("value").isNull() | (F.col("rank") <= TOP_CATEGORIES + 1)
    value = F.when(is_kept, F.col("value")).otherwise(F.lit(OTHER))
    ranked = counted.withColumn("rank", F.row_number().over(by_rows)).withColumn("value", value)
    return ranked.groupBy("night", "column", "value").agg(F.sum("rows").alias("rows"))


def _fold(counted: DataFrame, kinds: Mapping[str, Kind], bins: Bins) -> Iterator[ColumnProfile]:
    key = itemgetter("night", "column")
    found = sorted((row.asDict() for row in counted.collect()), key=lambda row: (*key(row), row["value"] or ""))
    for (night, column), group in groupby(found, key):
        rows = {row["value"]: row["rows"] for row in group}
        missing = rows.pop(None, 0)
        edges = bins[column] if kinds[column] == "numeric" else ()
        total = missing + sum(rows.values())
        yield ColumnProfile(parse_night(night), column, kinds[column], total, missing, edges, rows)


def _without_counts(profile: ColumnProfile) -> ColumnProfile:
    return ColumnProfile(profile.as_of, profile.column, profile.kind, profile.rows, profile.missing, (), {})
