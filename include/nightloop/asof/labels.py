"""Labels: outcomes of decisions, taken only when a whole cohort has matured."""

import calendar
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nightloop.asof.params import LabelParams, Span
from nightloop.asof.views import run_sql
from nightloop.asof.visible import AsofSource, Bounds, Cutoff, clean_columns, scope_source
from nightloop.fault import Fault, NightloopError
from nightloop.run import format_night

_MATURES, _MATURED = "_matures_at", "_matured"


@dataclass(frozen=True, slots=True)
class Cohort:
    """The decisions of one night, and the night at which their outcomes are complete."""

    as_of: datetime
    matures_at: datetime


def maturing_cohorts(
    decision_nights: Iterable[datetime],
    nights: Sequence[datetime],
    params: LabelParams,
    first_tick_at_or_after: Callable[[datetime], datetime],
) -> list[Cohort]:
    """Return the cohorts among the decision nights that mature within the nights of a replay."""
    cohorts = [
        Cohort(night, first_tick_at_or_after(complete_at(night, params))) for night in sorted(set(decision_nights))
    ]
    wanted = set(nights)
    return [cohort for cohort in cohorts if cohort.matures_at in wanted]


def complete_at(as_of: datetime, params: LabelParams) -> datetime:
    """Return when the outcomes of a night's decisions are complete: horizon and settlement after it."""
    return add_span(as_of, params.horizon) + timedelta(days=params.settlement_days)


def add_span(instant: datetime, span: Span) -> datetime:
    """Add calendar time as Spark does: a month more of 31 January is the last day of February.

    >>> add_span(datetime(2025, 1, 31), Span.model_validate("1 month"))
    datetime.datetime(2025, 2, 28, 0, 0)
    """
    if span.unit != "months":
        return instant + timedelta(**{span.unit: span.count})
    years, month = divmod(instant.month - 1 + span.count, 12)
    year = instant.year + years
    day = min(instant.day, calendar.monthrange(year, month + 1)[1])
    return instant.replace(year=year, month=month + 1, day=day)


def build_labels(
    spine: DataFrame,
    cohorts: Sequence[Cohort],
    sources: Mapping[str, AsofSource],
    sql: str,
    params: LabelParams,
    entity: Sequence[str],
    first_decision: datetime | None,
) -> DataFrame:
    """Return one row per decision of the cohorts, in the layout of `labels/<use case>`.

    Columns: row_id, entity, decision_time, cohort, label, is_observed, night, variant. `night` is the cohort's
    maturity; `label` is null where no outcome can be observed.

    label.sql sees `spine` and of each source `<source>_after`: events in (decision_time, decision_time + horizon] as
    they were known at maturity. `spine` is `build_spine` of the cohorts' nights, staged; others' rows are left out.
    `first_decision` is the earliest of the spine, from which the sources' lookback is counted.

    Raises:
        NightloopError: the query is wrong, or lacks `row_id` or `label`.
    """
    matured = _mature(spine, cohorts)
    decided = matured.select(*(name for name in spine.columns if name not in {"night", "variant"}))
    views = {"spine": decided}
    for name, source in sources.items():
        views[f"{name}_after"] = _select_after(matured, cohorts, source, params, first_decision)
    found = run_sql(sql, views, "label.sql")
    missing = [name for name in ("row_id", "label") if name not in found.columns]
    if missing:
        raise NightloopError(Fault("columns of label.sql", "row_id, label", ", ".join(found.columns), "select them"))
    has_outcome = F.col("label").isNotNull()
    observed = has_outcome & F.coalesce(F.expr(params.observed_when or "true"), F.lit(False))
    outcomes = found.select("row_id", F.col("label").cast("double").alias("label"), observed.alias("is_observed"))
    return matured.join(outcomes, "row_id", "left").select(
        "row_id",
        *entity,
        "decision_time",
        F.col("night").alias("cohort"),
        "label",
        F.coalesce("is_observed", F.lit(False)).alias("is_observed"),
        F.col(_MATURED).alias("night"),
        "variant",
    )


def _mature(spine: DataFrame, cohorts: Sequence[Cohort]) -> DataFrame:
    rows = [(format_night(cohort.as_of), cohort.matures_at, format_night(cohort.matures_at)) for cohort in cohorts]
    maturities = spine.sparkSession.createDataFrame(rows, f"night string, {_MATURES} timestamp, {_MATURED} string")
    return spine.join(F.broadcast(maturities), "night")


def _select_after(
    matured: DataFrame,
    cohorts: Sequence[Cohort],
    source: AsofSource,
    params: LabelParams,
    first_decision: datetime | None,
) -> DataFrame:
    """Return the events after each decision, as known when its cohort matured."""
    keys = {right: f"_key_{right}" for right in source.view.join.values()}
    needed = matured.select(
        "row_id",
        F.col("decision_time").alias("_decided"),
        _MATURES,
        _MATURED,
        *(F.col(right).alias(key) for right, key in keys.items()),
    )
    first = min(cohort.as_of for cohort in cohorts)
    last = max(cohort.matures_at for cohort in cohorts)
    # a decision may lie long before its night, and the lookback counts from the decision
    bounds = Bounds(_MATURES, _MATURED, "_decided", min(first, first_decision or first), last)
    maturities = {cohort.matures_at for cohort in cohorts}
    cutoff = Cutoff(last, last) if len(maturities) == 1 else None
    join = {left: keys[right] for left, right in source.view.join.items()}
    rows = scope_source(source, needed, bounds, join, cutoff)
    happened = F.col(source.view.event_time).cast("timestamp")
    until = F.col("_decided") + F.expr(params.horizon.sql)
    after = rows.where((happened > F.col("_decided")) & (happened <= until))
    return after.select("row_id", *clean_columns(source.rows))
