"""The last version of each record that a row's decision could have known: the heart of every as-of view.

Two bounds make a version visible: it was known at the decision (`known_at`), and the night that loaded it had run by
the row's night (`_loaded`). Without the second one a bulk replay would know records that an earlier night, which had
run before the source did, could not have seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import and_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from nightloop.asof.params import LookbackDays, SourceView
from nightloop.run import format_night

NIGHT_PATTERN = "yyyyMMdd'T'HHmmX"
_EPOCH = datetime(1900, 1, 1, tzinfo=UTC)
_NEVER = "TIMESTAMP '9999-01-01 00:00:00'"
_SLACK = timedelta(days=32)
_PARTITION = ("night", "variant", "_file", "_row")
_ORDER = ("known_at", "night", "_file", "_row")


@dataclass(frozen=True, slots=True)
class Night:
    """One night of a use case: what it takes in lies in (previous_as_of, as_of]."""

    as_of: datetime
    previous_as_of: datetime


@dataclass(frozen=True, slots=True)
class AsofSource:
    """One source's clean rows and how records meet the spine.

    `is_known_by_column`: rows declare their own `known_at`, so that history loaded at once counts as known before the
    night that loaded it.
    """

    view: SourceView
    rows: DataFrame
    is_known_by_column: bool = False


@dataclass(frozen=True, slots=True)
class Cutoff:
    """The one decision and the one night that all rows of a spine share."""

    known: datetime
    loaded: datetime


@dataclass(frozen=True, slots=True)
class Bounds:
    """Names of the spine's columns that bound what a row may see, and the span of them, which prunes partitions."""

    known: str
    loaded: str
    since: str
    first: datetime
    last: datetime


def scope_source(
    source: AsofSource, spine: DataFrame, bounds: Bounds, join: Mapping[str, str], cutoff: Cutoff | None = None
) -> DataFrame:
    """Return the visible versions of the records that meet each spine row: all spine columns beside the clean ones.

    `join` maps source to spine columns. With a cut-off all rows share, the versions are chosen by a filter before the
    join; else each version carries the interval in which it was the last one. Tombstones drop their records.
    """
    view = source.view
    rows = _known_rows(source, bounds)
    if cutoff is not None:
        is_visible = (F.col("known_at") <= F.lit(cutoff.known)) & (F.col("_loaded") <= F.lit(cutoff.loaded))
        versions = _last_versions(rows.where(is_visible), view.record_keys)
        conditions = []
    else:
        versions = _add_intervals(rows.where(F.col("known_at") <= F.lit(bounds.last)), view.record_keys)
        conditions = [_is_last_at(F.col(f"s.{bounds.known}"), F.col(f"s.{bounds.loaded}"))]
    if view.tombstone:
        versions = versions.where(~F.coalesce(F.expr(view.tombstone), F.lit(False)))
    if view.lookback_days != "unbounded":
        since = F.col(f"s.{bounds.since}") - F.expr(f"INTERVAL {view.lookback_days} DAYS")
        conditions.append(F.col("v.known_at") > since)
    conditions += [F.col(f"v.{left}") == F.col(f"s.{right}") for left, right in join.items()]
    condition = reduce(and_, conditions, F.lit(True))
    own = [F.col(f"v.{name}") for name in clean_columns(source.rows) if name not in spine.columns]
    met = spine.alias("s").join(versions.alias("v"), condition, "inner")
    return met.select(*(F.col(f"s.{name}") for name in spine.columns), *own)


def select_new(source: AsofSource, nights: Sequence[Night]) -> DataFrame:
    """Return what each night learned first: per record and night the last of its versions, with `as_of`."""
    view = source.view
    first, last = min(night.previous_as_of for night in nights), max(night.as_of for night in nights)
    visible_from = F.greatest("known_at", "_loaded")
    span = Bounds("as_of", "as_of", "as_of", first, last)
    rows = _known_rows(source, span, is_lookback_ignored=True).withColumn("_from", visible_from)
    fresh = rows.where((F.col("_from") > F.lit(first)) & (F.col("_from") <= F.lit(last)))
    taken = fresh.join(
        F.broadcast(nights_frame(source.rows, nights)),
        (F.col("_from") > F.col("previous_as_of")) & (F.col("_from") <= F.col("as_of")),
    )
    versions = _last_versions(taken, (*view.record_keys, "as_of"))
    if view.tombstone:
        versions = versions.where(~F.coalesce(F.expr(view.tombstone), F.lit(False)))
    return versions.select(*clean_columns(source.rows), "as_of")


def nights_frame(rows: DataFrame, nights: Sequence[Night]) -> DataFrame:
    """Return the nights as the view `nights(as_of, previous_as_of)`."""
    pairs = [(night.as_of, night.previous_as_of) for night in nights]
    return rows.sparkSession.createDataFrame(pairs, "as_of timestamp, previous_as_of timestamp")


def clean_columns(rows: DataFrame) -> list[str]:
    """Return the columns of a clean table that folder SQL may see."""
    return [name for name in rows.columns if name not in _PARTITION]


def _known_rows(source: AsofSource, bounds: Bounds, *, is_lookback_ignored: bool = False) -> DataFrame:
    """Add `_loaded` and leave out the partitions that no row of the spine can see."""
    night = F.to_timestamp("night", NIGHT_PATTERN)
    loaded = night
    if source.is_known_by_column:
        loaded = F.when(F.col("known_by") == "declared", F.lit(_EPOCH)).otherwise(night)
    rows = source.rows
    if not source.is_known_by_column:
        rows = rows.where(F.col("night") <= format_night(bounds.last))
    lookback: LookbackDays = 0 if is_lookback_ignored else source.view.lookback_days
    if lookback != "unbounded":
        rows = rows.where(F.col("night") >= format_night(bounds.first - timedelta(days=lookback) - _SLACK))
    return rows.withColumn("_loaded", loaded)


def _last_versions(rows: DataFrame, keys: Sequence[str]) -> DataFrame:
    recent_first = Window.partitionBy(*keys).orderBy(*(F.col(name).desc() for name in _ORDER))
    return rows.withColumn("_rank", F.row_number().over(recent_first)).where(F.col("_rank") == 1).drop("_rank")


def _add_intervals(rows: DataFrame, keys: Sequence[str]) -> DataFrame:
    """Add when the next version of the record takes over; `_loaded` must not fall from version to version."""
    order = Window.partitionBy(*keys).orderBy(*_ORDER)
    so_far = order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    ordered = rows.withColumn("_loaded", F.max("_loaded").over(so_far))
    return ordered.withColumns(
        {
            "_next_known": F.coalesce(F.lead("known_at").over(order), F.expr(_NEVER)),
            "_next_loaded": F.coalesce(F.lead("_loaded").over(order), F.expr(_NEVER)),
        }
    )


def _is_last_at(known: Column, loaded: Column) -> Column:
    is_visible = (F.col("v.known_at") <= known) & (F.col("v._loaded") <= loaded)
    is_succeeded = (F.col("v._next_known") <= known) & (F.col("v._next_loaded") <= loaded)
    return is_visible & ~is_succeeded
