"""The last version of each record that a row's decision could have known: the heart of every as-of view.

Two bounds make a version visible: it was known at the decision (`known_at`), and the night that loaded it had run by
the row's night (`_loaded`). Without the second one a bulk replay would know records that an earlier night, which had
run before the source did, could not have seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nightloop.asof.params import LookbackDays, SourceView
from nightloop.asof.versions import add_spans, is_last_at, last_versions
from nightloop.run import format_night

NIGHT_PATTERN = "yyyyMMdd'T'HHmmX"
# a row may be known up to 31 days after the night of its partition (`known_at:future` in `etl.typing`)
_SLACK = timedelta(days=32)
_PARTITION = ("night", "variant", "_file", "_row")


@dataclass(frozen=True, slots=True)
class Night:
    """One night of a use case: what it takes in lies in (previous_as_of, as_of]."""

    as_of: datetime
    previous_as_of: datetime


@dataclass(frozen=True, slots=True)
class AsofSource:
    """One source's clean rows and how records meet the spine.

    `opened`, of a source whose rows declare their `known_at`: for each night the tick before it. What a row declares
    up to then is history, and counts as loaded when it was known; what it declares later was loaded by its night.
    """

    view: SourceView
    rows: DataFrame
    opened: Mapping[str, datetime] | None = None


@dataclass(frozen=True, slots=True)
class Cutoff:
    """The one decision and the one night that all rows of a spine share."""

    known: datetime
    loaded: datetime


@dataclass(frozen=True, slots=True)
class Bounds:
    """Names of the spine's columns that bound what a row may see, and the span of them, which prunes partitions.

    `loaded` is the name of a night: names sort as nights do, and cost nothing to compare.
    """

    known: str
    loaded: str
    since: str
    first: datetime
    last: datetime


def scope_source(
    source: AsofSource, spine: DataFrame, bounds: Bounds, join: Mapping[str, str], cutoff: Cutoff | None = None
) -> DataFrame:
    """Return the visible versions of the records that meet each spine row: all spine columns beside the clean ones."""
    versions = select_versions(source, bounds, cutoff)
    own = [F.col(f"v.{name}") for name in clean_columns(source.rows) if name not in spine.columns]
    condition = F.expr(meets(source.view, bounds, join, cutoff, row="s", version="v"))
    met = spine.alias("s").join(versions.alias("v"), condition, "inner")
    return met.select(*(F.col(f"s.{name}") for name in spine.columns), *own)


def select_versions(source: AsofSource, bounds: Bounds, cutoff: Cutoff | None = None) -> DataFrame:
    """Return the versions that rows within the bounds may meet, as `meets` chooses among them.

    With a cut-off all rows share, they are chosen by a filter here; else each version carries the interval in which it
    was the last one. Tombstones drop their records.
    """
    rows = _known_rows(source, bounds)
    if cutoff is not None:
        is_visible = (F.col("known_at") <= F.lit(cutoff.known)) & (F.col("_loaded") <= format_night(cutoff.loaded))
        versions = last_versions(rows.where(is_visible), source.view.record_keys)
    else:
        versions = add_spans(rows.where(F.col("known_at") <= F.lit(bounds.last)), source.view.record_keys)
    # only once the last version is chosen: dropped before, a tombstone would uncover what it deletes
    if source.view.tombstone:
        versions = versions.where(~F.coalesce(F.expr(source.view.tombstone), F.lit(False)))
    return versions


def meets(
    view: SourceView, bounds: Bounds, join: Mapping[str, str], cutoff: Cutoff | None, *, row: str, version: str
) -> str:
    """Condition over a spine row and a version of `select_versions`, as SQL; `join` maps source to spine columns."""
    conditions = [f"{version}.`{left}` = {row}.`{right}`" for left, right in join.items()]
    if cutoff is None:
        conditions.append(is_last_at(version, f"{row}.{bounds.known}", f"{row}.{bounds.loaded}"))
    if view.lookback_days != "unbounded":
        since = f"{row}.{bounds.since} - INTERVAL {view.lookback_days} DAYS"
        conditions.append(f"{version}.known_at > {since}")
    return " AND ".join(conditions) or "true"


def select_new(source: AsofSource, nights: Sequence[Night]) -> DataFrame:
    """Return what each night learned first: per record and night the last of its versions, with `as_of`."""
    view = source.view
    first, last = min(night.previous_as_of for night in nights), max(night.as_of for night in nights)
    # history's `_loaded` names no night: it parses to null, which `greatest` passes over
    visible_from = F.greatest("known_at", F.try_to_timestamp("_loaded", F.lit(NIGHT_PATTERN)))
    span = Bounds("as_of", "as_of", "as_of", first, last)
    # what is new was known or loaded within these nights: no lookback is needed to find it
    rows = _known_rows(source, span, is_lookback_ignored=True).withColumn("_from", visible_from)
    fresh = rows.where((F.col("_from") > F.lit(first)) & (F.col("_from") <= F.lit(last)))
    taken = fresh.join(
        F.broadcast(nights_frame(source.rows, nights)),
        (F.col("_from") > F.col("previous_as_of")) & (F.col("_from") <= F.col("as_of")),
    )
    versions = last_versions(taken, (*view.record_keys, "as_of"))
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
    """Add `_loaded`, the name of a night, and leave out the partitions that no row of the spine can see."""
    rows = source.rows
    lookback: LookbackDays = 0 if is_lookback_ignored else source.view.lookback_days
    if lookback != "unbounded":
        rows = rows.where(F.col("night") >= format_night(bounds.first - timedelta(days=lookback) - _SLACK))
    if source.opened is None:
        return rows.where(F.col("night") <= format_night(bounds.last)).withColumn("_loaded", F.col("night"))
    # without an upper bound: any later night may have brought history
    opened = rows.sparkSession.createDataFrame([*source.opened.items()], "night string, _opened timestamp")
    is_history = (F.col("known_by") == "declared") & (F.col("known_at") <= F.col("_opened"))
    # the empty name sorts before every night's
    loaded = F.when(is_history, F.lit("")).otherwise(F.col("night"))
    return rows.join(F.broadcast(opened), "night", "left").withColumn("_loaded", loaded).drop("_opened")
