"""Between the ledger and the drift domain: what a decision reads, and the rows that profiles become."""

from collections.abc import Iterable
from datetime import UTC, datetime

from nightloop.asof.labels import complete_at
from nightloop.dataset import DatasetRef
from nightloop.drift.inputs import Champion, DecisionInputs
from nightloop.drift.past import DRIFT, DRIFT_REPLAY
from nightloop.drift.performance import Yardstick
from nightloop.drift.profile import ColumnProfile
from nightloop.folders.schedule import first_tick_at_or_after
from nightloop.folders.use_case import UseCase
from nightloop.loop.night.feature_versions import FeatureSet, served_version
from nightloop.run import Replay
from nightloop.stores.ledger.ledger import Ledger
from nightloop.stores.ledger.rows import ProfileRow, VerdictRow

SCORES = "scores"
_EVER = datetime(1970, 1, 1, tzinfo=UTC)


def read_inputs(ledger: Ledger, present: FeatureSet, replay: Replay) -> dict[datetime, DecisionInputs]:
    """Read for each night of a replay what its decision may see; nights later than it have no effect.

    Features are held against nights of the version that the night's champion reads: under another version a column may
    mean something else.
    """
    served = {night: served_version(ledger, present, night) for night in replay.nights}
    gathered = {version: _gather(ledger, present.use_case, replay, version) for version in {*served.values()}}
    return {night: gathered[version] for night, version in served.items()}


def _gather(ledger: Ledger, use_case: UseCase, replay: Replay, feature_version: str) -> DecisionInputs:
    scope, last, variant = replay.scope, replay.last, replay.variant
    return DecisionInputs.gather(
        scope,
        [
            row
            for dataset in (features_of(scope, feature_version), SCORES)
            for row in ledger.profiles(scope, dataset, _EVER, last, variant)
        ],
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


def features_of(scope: str, feature_version: str) -> str:
    """Return the name under which the profiles of a feature version stand in the ledger."""
    return str(DatasetRef("features", scope, feature_version))


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
