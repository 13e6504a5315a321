"""Between the ledger and the drift domain: what a decision reads, and the rows that profiles become."""

from collections.abc import Iterable
from datetime import UTC, datetime

from nightloop.asof.labels import complete_at
from nightloop.drift.inputs import Champion, DecisionInputs
from nightloop.drift.past import DRIFT, DRIFT_REPLAY
from nightloop.drift.performance import Yardstick
from nightloop.drift.profile import ColumnProfile
from nightloop.run import Replay
from nightloop.schedule import first_tick_at_or_after
from nightloop.stores.ledger import Ledger, ProfileRow, VerdictRow
from nightloop.use_case import UseCase

DATASETS = ("features", "scores")
_EVER = datetime(1970, 1, 1, tzinfo=UTC)


def read_inputs(ledger: Ledger, use_case: UseCase, replay: Replay) -> DecisionInputs:
    """Read what the decisions on a replay's nights share; nights later than a decision have no effect on it."""
    scope, last, variant = replay.scope, replay.last, replay.variant
    return DecisionInputs.gather(
        scope,
        [row for dataset in DATASETS for row in ledger.profiles(scope, dataset, _EVER, last, variant)],
        use_case.drift,
        matures_at=lambda cohort: first_tick_at_or_after(use_case.schedule, complete_at(cohort, use_case.label)),
        metrics=ledger.metrics(scope, _EVER, last, variant),
        maturity=ledger.maturity(scope, last, variant),
    )


def read_verdicts(ledger: Ledger, scope: str, variant: str) -> dict[datetime, VerdictRow]:
    """Return the drift verdict of every night; what a night decided for itself stands above what a replay did."""
    kinds = (ledger.verdicts(scope, kind=kind, variant=variant) for kind in (DRIFT_REPLAY, DRIFT))
    return {row.as_of: row for rows in kinds for row in rows}


def find_champion(ledger: Ledger, use_case: UseCase, night: datetime) -> Champion | None:
    """Return who scores in a night, and the metric of its judging that it is held to."""
    changes = [change for change in ledger.champion_history(use_case.name) if change.decided_as_of < night]
    if not changes:
        return None
    model, promotion = ledger.model(use_case.name, changes[-1].version), use_case.promotion
    yardstick = Yardstick(promotion.metric, model.metrics.get(promotion.metric), promotion.min_positives)
    return Champion(model.version, model.as_of, changes[-1].decided_as_of, yardstick)


def find_edges(ledger: Ledger, replay: Replay, dataset: str) -> dict[str, tuple[float, ...]]:
    """Return the newest bin edges of each column profiled so far, so that a new feature version keeps them."""
    rows = ledger.profiles(replay.scope, dataset, _EVER, replay.last, replay.variant)
    return {row.column: row.edges for row in rows if row.edges}


def as_rows(profiles: Iterable[ColumnProfile], replay: Replay, dataset: str) -> list[ProfileRow]:
    return [
        ProfileRow(
            scope=replay.scope,
            as_of=profile.as_of,
            variant=replay.variant,
            dataset=dataset,
            column=profile.column,
            kind=profile.kind,
            rows=profile.rows,
            missing=profile.missing,
            edges=profile.edges,
            counts=profile.counts,
        )
        for profile in profiles
    ]
