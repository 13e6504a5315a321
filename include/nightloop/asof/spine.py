"""The spine: one row per entity and decision, from which features, scores and labels start."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from nightloop.asof.views import run_sql
from nightloop.asof.visible import (
    NIGHT_PATTERN,
    AsofSource,
    Bounds,
    Cutoff,
    Night,
    nights_frame,
    scope_source,
    select_new,
)
from nightloop.fault import Fault, NightloopError
from nightloop.run import format_night, parse_night

_NIGHT_NAME = "yyyyMMdd'T'HHmm'Z'"


@dataclass(frozen=True, slots=True)
class SpineFigures:
    """What a pass over the staged spine found: rows per night, and the span of its decisions."""

    rows: Mapping[str, int]
    first_decision: datetime | None
    last_decision: datetime | None

    @property
    def total(self) -> int:
        return sum(self.rows.values())

    @property
    def cutoff(self) -> Cutoff | None:
        """The decision and night that all rows share, if they do."""
        filled = [night for night, rows in self.rows.items() if rows]
        if len(filled) != 1 or self.first_decision is None or self.first_decision != self.last_decision:
            return None
        return Cutoff(self.first_decision, parse_night(filled[0]))


def build_spine(
    sources: Mapping[str, AsofSource], nights: Sequence[Night], entity: Sequence[str], sql: str, variant: str
) -> DataFrame:
    """Return `row_id`, the columns of spine.sql, `decision_time`, `night`, `variant` for every decision of the nights.

    spine.sql sees `nights(as_of, previous_as_of)` and of each source `<source>_new` (what each night learned first)
    and `<source>` (what was known at each night), both with `as_of`. Stage the result, then call `check_spine`.

    Raises:
        NightloopError: the query is wrong, or lacks an entity column or `decision_time`.
    """
    some = next(iter(sources.values())).rows
    views = {"nights": nights_frame(some, nights)}
    span = Bounds("as_of", "_night", "as_of", nights[0].as_of, nights[-1].as_of)
    cutoff = Cutoff(nights[0].as_of, nights[0].as_of) if len(nights) == 1 else None
    instants = views["nights"].select("as_of", F.date_format("as_of", _NIGHT_NAME).alias("_night"))
    for name, source in sources.items():
        views[f"{name}_new"] = select_new(source, nights)
        views[name] = scope_source(source, instants, span, {}, cutoff).drop("_night")
    rows = run_sql(sql, views, "spine.sql")
    missing = [name for name in (*entity, "decision_time") if name not in rows.columns]
    if missing:
        raise NightloopError(
            Fault("columns of spine.sql", ", ".join((*entity, "decision_time")), ", ".join(rows.columns), "select them")
        )
    decided = rows.withColumn("decision_time", F.col("decision_time").cast("timestamp"))
    # an instant has no `@`: the last one of an id parts it from the entity, for erasure and the warehouse's keys
    row_id = F.concat_ws("@", F.concat_ws("|", *(F.col(name).cast("string") for name in entity)), _micros())
    night = F.date_format(F.col("as_of"), _NIGHT_NAME) if "as_of" in rows.columns else _derived_night(nights)
    own = [
        name for name in rows.columns if name not in {"as_of", "decision_time", "row_id", "night", "variant", *entity}
    ]
    return decided.select(
        row_id.alias("row_id"),
        *entity,
        *own,
        "decision_time",
        night.alias("night"),
        F.lit(variant).alias("variant"),
    )


def check_spine(spine: DataFrame, nights: Sequence[Night], entity: Sequence[str]) -> SpineFigures:
    """Audit a staged spine in one pass and return its figures.

    Raises:
        NightloopError: a row stands twice, lacks its entity or decision, is decided after its night, or belongs to no
            night of the replay.
    """
    is_keyless = F.expr(" OR ".join(f"`{name}` IS NULL" for name in (*entity, "decision_time")))
    is_early = F.col("decision_time") > F.to_timestamp("night", NIGHT_PATTERN)
    figures = spine.groupBy("night").agg(
        F.count("*").alias("rows"),
        F.count_distinct("row_id").alias("distinct"),
        F.sum(is_keyless.cast("int")).alias("keyless"),
        F.sum(is_early.cast("int")).alias("early"),
        # as numbers: instants that are collected lose their zone and stand in that of the host
        F.unix_micros(F.min("decision_time")).alias("first"),
        F.unix_micros(F.max("decision_time")).alias("last"),
    )
    found = figures.collect()
    expected = {format_night(night.as_of) for night in nights}
    faults = [
        Fault(f"spine.sql, night {row['night']}", expectation, f"{number} rows", remedy)
        for row in found
        for expectation, number, remedy in (
            ("one row per entity and decision_time", row["rows"] - row["distinct"], "make the query's rows unique"),
            ("entity and decision_time never null", row["keyless"], "filter them out"),
            # null for rows that belong to no night, which the next fault names
            ("decision_time at or before as_of", row["early"] or 0, "decide no later than the night"),
            (
                "rows of the replay's nights only",
                0 if row["night"] in expected else row["rows"],
                "select `as_of` from the `_new` view, so that a late row belongs to the night that learned it",
            ),
        )
        if number
    ]
    if faults:
        raise NightloopError(faults)
    rows = dict.fromkeys(sorted(expected), 0) | {row["night"]: row["rows"] for row in found}
    firsts, lasts = [row["first"] for row in found], [row["last"] for row in found]
    return SpineFigures(rows, _instant(min(firsts)) if firsts else None, _instant(max(lasts)) if lasts else None)


def _micros() -> Column:
    return F.unix_micros("decision_time").cast("string")


def _derived_night(nights: Sequence[Night]) -> Column:
    """The first night at or after the decision; of a decision after the last night there is none."""
    ticks = F.array(*(F.lit(night.as_of) for night in nights))
    later = F.filter(ticks, lambda tick: tick >= F.col("decision_time"))
    # in ANSI mode `element_at` of an empty array is an error
    return F.date_format(F.try_element_at(later, F.lit(1)), _NIGHT_NAME)


def _instant(micros: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
