"""Which recipes a retraining fits, and as of when."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self

from nightloop.training.params import Params, Recipe, TrainingParams

CHAMPION = "champion"


@dataclass(frozen=True)
class PlannedCandidate:
    """A recipe with the features it sees: what a change of champion would change."""

    name: str
    recipe: Recipe
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    feature_version: str
    is_champion: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.numeric, *self.categorical)

    def settle(self, params: Params) -> Self:
        """Return the recipe with these parameters, which need no search any more."""
        return replace(self, recipe=self.recipe.model_copy(update={"params": dict(params), "tuning": None}))

    def to_dict(self) -> dict[str, Any]:
        """The recipe as the ledger keeps it, columns included; the feature version stands beside it there."""
        return {
            **self.recipe.model_dump(),
            "numeric": list(self.numeric),
            "categorical": list(self.categorical),
        }


def judging_opens(as_of: datetime, params: TrainingParams) -> datetime:
    """Return J: candidates are fitted as of it and judged on what matured after it."""
    return as_of - timedelta(days=params.judging_days)


def read_recipe(name: str, document: Mapping[str, Any], feature_version: str, *, is_champion: bool) -> PlannedCandidate:
    """Return the recipe that the ledger keeps of a registered model."""
    known = {key: document[key] for key in Recipe.model_fields if key in document}
    columns = tuple(document["numeric"]), tuple(document["categorical"])
    return PlannedCandidate(name, Recipe.model_validate(known), *columns, feature_version, is_champion)


def plan_candidates(
    recipes: tuple[Recipe, ...],
    numeric: tuple[str, ...],
    categorical: tuple[str, ...],
    feature_version: str,
    champion: PlannedCandidate | None = None,
) -> list[PlannedCandidate]:
    """Return the candidates by unique names; the champion's recipe is among them, first where none equals it.

    Recipes of one name are told apart by their place: `gradient_boosting`, `gradient_boosting-2`.
    """
    planned: list[PlannedCandidate] = []
    for recipe in recipes:
        taken = sum(one.recipe.name == recipe.name for one in planned)
        name = recipe.name if not taken else f"{recipe.name}-{taken + 1}"
        one = PlannedCandidate(name, recipe, numeric, categorical, feature_version)
        is_champion = champion is not None and _is_same(one, champion)
        planned.append(PlannedCandidate(name, recipe, numeric, categorical, feature_version, is_champion))
    if champion is not None and not any(one.is_champion for one in planned):
        planned.insert(0, champion)
    return planned


def _is_same(one: PlannedCandidate, other: PlannedCandidate) -> bool:
    return (one.recipe, one.columns, one.feature_version) == (other.recipe, other.columns, other.feature_version)
