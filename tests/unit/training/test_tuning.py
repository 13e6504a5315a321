"""A search finds what it is told to, prunes, and goes on after a kill as if there had been none."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from nightloop.training.candidate import FAMILIES, fit_candidate
from nightloop.training.encoder import Layout
from nightloop.training.launch import TrainingError
from nightloop.training.params import Family as FamilyName
from nightloop.training.params import Recipe, SearchRange, TrainingParams, Tuning
from nightloop.training.problem import Choosing, Chosen, Family, Matrix, Problem
from nightloop.training.tuning import Tuned, tune_recipe
from tests.unit.training.conftest import make_rows, plan

SPACE = {"rate": SearchRange(low=1e-4, high=1.0, log=True), "depth": SearchRange(low=1, high=9), "kind": ("a", "b")}
AS_WRITTEN = {"rate": 1.0, "depth": 9, "kind": "b", "other": 3}
BEST = {"rate": 0.01, "depth": 4, "kind": "a"}


def matrix(rows: int) -> Matrix:
    random = np.random.default_rng(rows)
    targets = random.normal(size=rows)
    return Matrix(Layout(1, ()), random.normal(size=(rows, 1)).astype(np.float32), targets, np.ones(rows))


def distance(params: dict[str, object]) -> float:
    """How far parameters are from the best ones."""
    rate = abs(np.log10(float(str(params["rate"]))) + 2)
    return float(rate + abs(int(str(params["depth"])) - BEST["depth"]) / 4 + (params["kind"] != "a"))


def measured(calls: list[tuple[int, float]], watch: Callable[[int, float], None] = lambda *_: None) -> Family:
    """A family whose error on the choose window is the distance of its parameters; it notes rows and distance."""

    def choose(problem: Problem, choosing: Choosing) -> Chosen:
        calls.append((choosing.fit.rows, distance(dict(problem.params))))
        watch(len(calls), calls[-1][1])
        return Chosen({}, (choosing.choose.targets + calls[-1][1])[:, None])

    return Family(choose, FAMILIES["linear"].fit, SPACE)


def search(work: Path, family: Family, rows: int = 1_000, **budget: float) -> Tuned:
    problem = Problem("regression", 1, AS_WRITTEN, 7, work / "fit")
    tuning = Tuning.model_validate({"trials": 25, **budget})
    return tune_recipe(problem, family, Choosing(matrix(rows), matrix(200)), tuning)


def test_the_search_comes_near_the_best_parameters(tmp_path: Path) -> None:
    calls: list[tuple[int, float]] = []
    found = search(tmp_path, measured(calls))
    assert calls[0] == (1_000, distance(AS_WRITTEN))
    assert len(calls) == 25
    assert found.params["other"] == 3
    assert distance(dict(found.params)) == min(tried for _, tried in calls) < distance(AS_WRITTEN) / 4
    assert isinstance(found.params["depth"], int)
    assert found.figures["tuning_loss"] == pytest.approx(distance(dict(found.params)) ** 2)
    assert found.figures["tuning_loss_as_written"] == pytest.approx(distance(AS_WRITTEN) ** 2)
    assert "Plotly.newPlot" in found.page


def test_a_search_killed_again_and_again_finds_the_same(tmp_path: Path) -> None:
    def die(count: int, _: float) -> None:
        if count == 6:
            os.kill(os.getpid(), signal.SIGKILL)

    undisturbed: list[tuple[int, float]] = []
    expected = search(tmp_path / "undisturbed", measured(undisturbed))
    kills = 0
    while (child := os.fork()) == 0 or os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL:
        if child == 0:
            try:
                search(tmp_path / "killed", measured([], die))
            finally:
                os._exit(0)
        kills += 1
    assert kills == 4
    calls: list[tuple[int, float]] = []
    found = search(tmp_path / "killed", measured(calls))
    assert (found.params, found.figures) == (expected.params, expected.figures)
    assert calls == []


def test_what_a_quarter_of_the_rows_rules_out_never_sees_all(tmp_path: Path) -> None:
    calls: list[tuple[int, float]] = []
    found = search(tmp_path, measured(calls), rows=8_000)
    sampled, whole = ([tried for rows, tried in calls if rows == count] for count in (2_000, 8_000))
    assert len(sampled) == 25
    assert found.figures["tuning_pruned"] == 25 - len(whole) > 0
    assert min(whole) == min(sampled)
    pruned = [tried for tried in sampled if tried not in whole]
    assert max(whole[6:]) < max(pruned)
    assert np.mean(whole[6:]) < np.mean(pruned)


def test_trials_that_fail_are_counted_and_the_others_go_on(tmp_path: Path) -> None:
    def refuse(_: int, tried: float) -> None:
        if tried > 1.5:
            raise FloatingPointError("the loss is nan: lower `rate`")

    found = search(tmp_path / "some", measured([], refuse))
    assert distance(dict(found.params)) <= 1.5
    assert found.figures["tuning_trials"] == 25
    assert "tuning_loss_as_written" not in found.figures

    def fail(_: int, __: float) -> None:
        raise FloatingPointError("the loss is nan: lower `rate`")

    with pytest.raises(TrainingError, match="all 25 trials of the search failed; the last one: the loss is nan"):
        search(tmp_path / "all", measured([], fail))


def test_no_trial_begins_after_the_time_is_over(tmp_path: Path) -> None:
    found = search(tmp_path, measured([]), minutes=1e-9)
    assert (found.figures["tuning_trials"], found.params) == (1, AS_WRITTEN)


def test_other_rows_are_another_search(tmp_path: Path) -> None:
    calls: list[tuple[int, float]] = []
    search(tmp_path, measured([]), trials=3)
    search(tmp_path, measured(calls), rows=1_001, trials=3)
    assert len(calls) == 3


@pytest.mark.parametrize("family", ["linear", "gradient_boosting"])
def test_a_tuned_recipe_is_no_worse_where_it_chose_and_is_frozen_for_the_refit(family: str, tmp_path: Path) -> None:
    rows = make_rows("binary")
    tuned = Recipe(family=family, tuning=Tuning(trials=4))
    training = TrainingParams(window_days=60, judging_days=10, candidates=(tuned,))
    twin = fit_candidate(rows, plan(tuned), tmp_path / "twin", "binary", training)
    assert twin.tuned is not None
    assert twin.tuned.figures["tuning_loss"] <= twin.tuned.figures["tuning_loss_as_written"]
    assert {*twin.params} <= {*FAMILIES[family].space}
    settled = plan(tuned).settle(twin.params)
    assert settled.recipe.tuning is None
    refit = fit_candidate(rows, settled, tmp_path / "refit", "binary", training, dict(twin.choices))
    assert (refit.model, refit.tuned) == (twin.model, None)


@pytest.mark.slow
def test_a_net_is_tuned_by_trials_that_train_no_model_of_the_whole_window(tmp_path: Path) -> None:
    space = {"learning_rate": {"low": 1e-3, "high": 2e-2, "log": True}, "width": [8, 16]}
    recipe = Recipe.model_validate(
        {"family": "tabular_net", "params": {"epochs": 2, "members": 2}, "tuning": {"trials": 3, "space": space}}
    )
    training = TrainingParams(window_days=60, judging_days=10, candidates=(recipe,), ranks=1)
    found = fit_candidate(make_rows("binary"), plan(recipe), tmp_path / "fit", "binary", training)
    assert found.tuned is not None
    assert found.tuned.figures["tuning_trials"] == 3
    assert not list(tmp_path.glob("fit/trial/checkpoint-whole*"))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        pytest.param({"low": 2, "high": 1}, "low must be below high", id="upside down"),
        pytest.param({"low": 0.0, "high": 1.0, "log": True}, "log needs low above 0", id="log of zero"),
    ],
)
def test_a_wrong_span_is_refused(document: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Tuning.model_validate({"space": {"rate": document}})


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"params": {"learning_rat": 0.1}}, id="written"),
        pytest.param({"tuning": {"space": {"learning_rat": [0.1, 0.2]}}}, id="searched"),
    ],
)
def test_a_parameter_that_the_family_has_not_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="gradient_boosting has no parameter learning_rat; it has class"):
        Recipe.model_validate({"family": "gradient_boosting", **document})


@pytest.mark.parametrize("family", FAMILIES)
def test_a_familys_own_space_holds_its_own_parameters(family: FamilyName) -> None:
    assert Recipe(family=family, tuning=Tuning(space=dict(FAMILIES[family].space)))


def test_recipes_with_and_without_a_search_have_names_of_their_own() -> None:
    recipe = Recipe(family="linear", half_life_days=30.0, tuning=Tuning())
    assert recipe.name == "linear-half-life-30d-tuned"
    assert plan(recipe).settle({"penalty": 3.0}).recipe.name == "linear-half-life-30d"
