"""What a retraining fits, and whose request it answers."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from nightloop.fault import Fault, NightloopError
from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.loop.night.asof_inputs import load_sources, version_features
from nightloop.training.plan import CHAMPION, PlannedCandidate, plan_candidates, read_recipe

if TYPE_CHECKING:
    from nightloop.stores.ledger.ledger import Ledger
    from nightloop.stores.ledger.rows import ModelRow


def make_plan(
    use_case: UseCase, load_source: Callable[[str], Source], champion: "ModelRow | None"
) -> list[PlannedCandidate]:
    """Return the candidates of a retraining; the champion's recipe is one of them."""
    version = version_features(use_case, load_sources(use_case, load_source))
    known = None
    if champion is not None:
        known = read_recipe(CHAMPION, champion.recipe, champion.feature_version, is_champion=True)
    numeric, categorical = use_case.features.numeric, use_case.features.categorical
    return plan_candidates(use_case.training.candidates, numeric, categorical, version, known)


def find_candidate(planned: Sequence[PlannedCandidate], name: str) -> PlannedCandidate:
    """Return the candidate of a name.

    Raises:
        NightloopError: the plan has no such candidate.
    """
    for one in planned:
        if one.name == name:
            return one
    names = ", ".join(one.name for one in planned)
    raise NightloopError(Fault("option candidate", f"one of {names}", name, "see the facts of plan_retraining"))


def assert_requested(ledger: "Ledger", scope: str, requests: Sequence[datetime]) -> None:
    """Pass if every event that woke a retraining has its request row.

    Raises:
        NightloopError: names the events without one.
    """
    rows = {row.as_of for row in ledger.verdicts(scope) if row.answer == "retrain"}
    faults = [
        Fault(
            f"retraining request of {scope} as of {as_of.isoformat()}",
            "a drift verdict in the ledger that answers `retrain`",
            "none",
            "only decide_retraining makes requests; start a retraining by hand without one",
        )
        for as_of in requests
        if as_of not in rows
    ]
    if faults:
        raise NightloopError(faults)
