"""Quarantined rows that a night takes up again: which they are, when they count as known, and what they may replace."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nightloop.etl.clean import FIRST_KNOWN, GOOD, OUTCOME, classify_versions

READMITTED = "readmitted"
UNMENDABLE = ("corrupt", "required:known_at", "known_at:future")  # no change of a folder lets such a row pass
_NIGHT = "yyyyMMdd'T'HHmm'Z'"

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Earlier:
    """What a replay inherits: raw rows to take up again, versions published before, and rows that stay set aside.

    `published` are the clean rows of other nights; `kept` are the quarantined rows of nights that have closed.
    """

    readmitted: DataFrame | None = None
    published: DataFrame | None = None
    kept: DataFrame | None = None


def pack_rows(rows: Iterable[int]) -> Ranges:
    """Return (first, last) of each run of consecutive row numbers.

    >>> pack_rows([7, 1, 2, 3, 9])
    ((1, 3), (7, 7), (9, 9))
    """
    ranges: list[tuple[int, int]] = []
    for row in sorted(set(rows)):
        if ranges and row == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], row)
        else:
            ranges.append((row, row))
    return tuple(ranges)


def name_rows(spark: SparkSession, readmissions: Iterable[tuple[object, str, Ranges]]) -> DataFrame:
    """Return one row per readmitted raw row of (as_of, checksum, ranges): `_checksum`, `_row`, `_as_of`."""
    ranges = [(checksum, *pair, as_of) for as_of, checksum, packed in readmissions for pair in packed]
    frame = spark.createDataFrame(ranges, "_checksum string, first bigint, last bigint, _as_of timestamp")
    return frame.select("_checksum", F.explode(F.sequence("first", "last")).alias("_row"), "_as_of")


def redate_rows(raw: DataFrame, named: DataFrame) -> DataFrame:
    """Return the named raw rows as the nights that take them up receive them: known as of those nights."""
    return (
        raw.withColumn(FIRST_KNOWN, F.col("known_at"))
        .join(F.broadcast(named), ["_checksum", "_row"])
        .withColumns(
            {
                "known_at": F.col("_as_of"),
                "known_by": F.lit(READMITTED),
                "night": F.date_format("_as_of", _NIGHT),
            }
        )
        .drop("_as_of")
    )


def split_stale(cleaned: DataFrame, published: DataFrame | None, keys: Sequence[str]) -> tuple[DataFrame, DataFrame]:
    """Split readmitted rows from which a record has moved on since: (all others, those that come too late).

    A version that was received after a readmitted row stands: one that came beside its readmission, or that a night
    before published. Of two readmissions of one record the later one stands.
    """
    is_readmitted = F.col("known_by") == READMITTED
    received, readmitted = cleaned.where(~is_readmitted), cleaned.where(is_readmitted)
    own = classify_versions(received, keys)
    versions = _versions(own, keys, F.col(OUTCOME) == GOOD)
    if published is not None:
        versions = versions.unionByName(_versions(published.where(~is_readmitted), keys, F.lit(True)))
    same = reduce(and_, (F.col(key).eqNullSafe(F.col(f"_version_{key}")) for key in keys))
    stands = (F.col("_version_night") == F.col("night")) | (
        (F.col("_version_night") < F.col("night")) & F.col("_version_is_published")
    )
    is_late = same & stands & (F.col("_version_place") > F.struct(FIRST_KNOWN, "_file", "_row"))
    fresh = readmitted.join(versions, is_late, "left_anti")
    return received.unionByName(fresh), readmitted.join(versions, is_late, "left_semi")


def _versions(rows: DataFrame, keys: Sequence[str], is_published: Column) -> DataFrame:
    own: list[Column] = [F.col(key).alias(f"_version_{key}") for key in keys]
    place = F.struct(F.col("known_at").alias(FIRST_KNOWN), "_file", "_row").alias("_version_place")
    return rows.select(*own, place, F.col("night").alias("_version_night"), is_published.alias("_version_is_published"))
