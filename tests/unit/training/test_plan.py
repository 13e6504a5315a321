"""What a retraining fits."""

from datetime import UTC, datetime

import pytest

from nightloop.training.params import Recipe, TrainingParams
from nightloop.training.plan import CHAMPION, judging_opens, plan_candidates, read_recipe

LINEAR, BOOSTING = Recipe(family="linear"), Recipe(family="gradient_boosting", params={"l2": 3.0})


def plan(champion: object = None, version: str = "v1") -> list:
    return plan_candidates((LINEAR, BOOSTING), ("x",), ("c",), version, champion)


def test_without_a_champion_all_candidates_are_fitted() -> None:
    assert [(one.name, one.is_champion) for one in plan()] == [("linear", False), ("gradient_boosting", False)]


def test_a_champion_among_the_candidates_is_fitted_once() -> None:
    champion = read_recipe(CHAMPION, plan()[1].to_dict(), "v1", is_champion=True)
    assert [(one.name, one.is_champion) for one in plan(champion)] == [("linear", False), ("gradient_boosting", True)]


@pytest.mark.parametrize(
    ("update", "version"),
    [
        pytest.param({"family": "tabular_net", "params": {}}, "v1", id="family"),
        pytest.param({"params": {"l2": 4.0}}, "v1", id="parameters"),
        pytest.param({"half_life_days": 9.0}, "v1", id="half-life"),
        pytest.param({"numeric": ["x", "y"]}, "v1", id="features"),
        pytest.param({}, "v0", id="feature version"),
    ],
)
def test_another_champion_comes_first_with_its_own_features(update: dict, version: str) -> None:
    champion = read_recipe(CHAMPION, plan()[1].to_dict() | update, version, is_champion=True)
    planned = plan(champion)
    assert [one.name for one in planned] == ["champion", "linear", "gradient_boosting"]
    assert planned[0].feature_version == version


def test_recipes_of_one_name_are_told_apart() -> None:
    planned = plan_candidates((BOOSTING, BOOSTING.model_copy(update={"params": {}})), ("x",), (), "v1")
    assert [one.name for one in planned] == ["gradient_boosting", "gradient_boosting-2"]


def test_the_judging_window_opens_before_the_run() -> None:
    params = TrainingParams(window_days=30, judging_days=2, candidates=(LINEAR,))
    assert judging_opens(datetime(2025, 3, 3, 2, tzinfo=UTC), params) == datetime(2025, 3, 1, 2, tzinfo=UTC)
