"""The cohorts that mature in a replay, their outcomes beside their scores, and what the ledger is told of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from nightloop.dataset import DatasetRef
from nightloop.evaluation.cohorts import measure_cohorts
from nightloop.fault import NightloopError
from nightloop.folders.schedule import first_tick_at_or_after, ticks
from nightloop.folders.use_case import UseCase
from nightloop.run import MAIN_VARIANT, Replay, format_night, parse_night
from nightloop.stores.lake.files import LakeFiles
from nightloop.stores.ledger.rows import MaturityRow, MetricRow

if TYPE_CHECKING:
    from nightloop.asof.labels import Cohort

OUTCOME_COLUMNS = ("row_id", "decision_time", "cohort", "label", "night")
_SCORE_COLUMNS = ("row_id", "score", "decision", "model_version")
EVERY_ROW = "all"


@dataclass(frozen=True)
class MaturedNight:
    """What matured in one night: its cohorts, the labels of all of them, and labels beside scores where there are."""

    as_of: datetime
    cohorts: "tuple[Cohort, ...]"
    labels: pa.Table
    scored: pa.Table


def list_cohorts(use_case: UseCase, replay: Replay) -> "list[Cohort]":
    """Return the cohorts, nights of decisions, that mature in the replay's nights."""
    from nightloop.asof.labels import maturing_cohorts

    first = datetime.combine(use_case.start, time(), UTC)
    decided = ticks(use_case.schedule, first, replay.last)
    return maturing_cohorts(decided, replay.nights, use_case.label, partial(first_tick_at_or_after, use_case.schedule))


def read_night(
    use_case: UseCase, lake: LakeFiles, replay: Replay, night: datetime, cohorts: "Sequence[Cohort]"
) -> MaturedNight:
    """Read back the labels that a night published, and join the scores of the main variant to the observed ones."""
    own = tuple(cohort for cohort in cohorts if cohort.matures_at == night)
    names = [*OUTCOME_COLUMNS, "is_observed"]
    labels = _read(lake, DatasetRef("labels", use_case.name), Replay(replay.scope, (night,), replay.variant), names)
    given = None
    if own and labels is not None:
        decided = Replay(replay.scope, tuple(cohort.as_of for cohort in own), MAIN_VARIANT)
        given = _read(lake, DatasetRef("scores", use_case.name), decided, _SCORE_COLUMNS)
    labels = labels if labels is not None else pa.table({name: pa.array([], pa.string()) for name in names})
    if given is None:
        return MaturedNight(night, own, labels, pa.table({"cohort": pa.array([], pa.string())}))
    observed = labels.filter(labels.column("is_observed")).select(["row_id", "cohort", "label"])
    # in one order, whatever order the join has: sums of floats must not differ from run to run
    scored = observed.join(given, "row_id", join_type="inner").sort_by("row_id")
    return MaturedNight(night, own, labels, scored)


def measure_night(use_case: UseCase, replay: Replay, night: MaturedNight) -> list[MetricRow]:
    """Return the metrics of every cohort and model version that scored it; none where nobody did."""
    if not night.scored.num_rows:
        return []
    threshold = use_case.scoring.decision_threshold
    population = use_case.label.observed_when or EVERY_ROW
    return [
        MetricRow(
            scope=replay.scope,
            as_of=night.as_of,
            variant=replay.variant,
            cohort_as_of=parse_night(found.cohort),
            model_version=found.model_version,
            population=population,
            metric=found.metric,
            value=found.value,
            rows=found.rows,
            positives=found.positives,
        )
        for found in measure_cohorts(night.scored, use_case.task, threshold)
    ]


def maturity_rows(replay: Replay, night: MaturedNight) -> list[MaturityRow]:
    """Return how many rows of each cohort matured, and for how many an outcome was observed."""
    rows = []
    for cohort in night.cohorts:
        mask = pc.equal(night.labels.column("cohort"), format_night(cohort.as_of))
        own = night.labels.filter(mask)
        observed = int(pc.sum(own.column("is_observed")).as_py() or 0) if own.num_rows else 0
        name = (replay.scope, night.as_of, replay.variant, cohort.as_of, cohort.matures_at)
        rows.append(MaturityRow(*name, rows=own.num_rows, observed=observed))
    return rows


def _read(lake: LakeFiles, ref: DatasetRef, replay: Replay, columns: Sequence[str]) -> pa.Table | None:
    try:
        batches = list(lake.open(ref, replay).stream(list(columns)))
    # no such table yet: nobody has scored, or nothing has matured
    except NightloopError:
        return None
    return pa.Table.from_batches(batches) if batches else None
