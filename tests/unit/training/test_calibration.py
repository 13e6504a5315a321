"""Calibration undoes what a model overstates, leaves little evidence alone, and is frozen with the recipe."""

import numpy as np
import pytest

from nightloop.training.calibration import Calibration
from nightloop.training.encoder import Layout
from nightloop.training.params import Task
from nightloop.training.problem import Matrix, Problem, mean_loss

RANDOM = np.random.default_rng(5)


def make(task: Task, rows: int, classes: int = 2) -> tuple[Problem, np.ndarray, Matrix]:
    """Return true margins and rows whose targets were drawn from them."""
    margins = RANDOM.normal(size=(rows, 1 if task == "binary" else classes))
    powers = np.exp(np.column_stack([np.zeros(rows), margins[:, 0]]) if task == "binary" else margins)
    shares = np.cumsum(powers / powers.sum(axis=1, keepdims=True), axis=1)
    targets = (RANDOM.random((rows, 1)) > shares[:, :-1]).sum(axis=1).astype(float)
    problem = Problem(task, classes, {}, 7, None)  # type: ignore[arg-type] - no file is written
    return problem, margins, Matrix(Layout(0, ()), np.zeros((rows, 0), np.float32), targets, np.ones(rows))


@pytest.mark.parametrize(("task", "classes"), [("binary", 2), ("multiclass", 3)])
def test_overstated_margins_come_back(task: Task, classes: int) -> None:
    problem, margins, choose = make(task, 20_000, classes)
    told = 3.0 * margins + np.arange(1, margins.shape[1] + 1)
    found = Calibration.fit(problem, told, choose)
    assert found.slope == pytest.approx(1 / 3, rel=0.05)
    assert mean_loss(problem, found.apply(told), choose) < mean_loss(problem, margins, choose) + 1e-3
    assert mean_loss(problem, found.apply(told), choose) < mean_loss(problem, told, choose) - 0.1


def test_rows_that_are_told_apart_wholly_calibrate_little() -> None:
    problem, _, choose = make("binary", 10)
    margins = np.where(choose.targets > 0, 1.0, -1.0).reshape(-1, 1)
    found = Calibration.fit(problem, margins, choose)
    assert 1.0 < found.slope < 1.5
    assert abs(found.shifts[0]) < 0.5


def test_a_regression_is_left_as_it_is() -> None:
    problem, margins, choose = make("binary", 50)
    regression = Problem("regression", 1, {}, 7, problem.work)
    found = Calibration.fit(regression, margins, choose)
    assert found == Calibration()
    assert found.apply(margins) is margins
    assert found.to_choices() == {}


def test_choices_keep_it_whole() -> None:
    found = Calibration(0.7, tuple(float(place) for place in range(12)))
    assert Calibration.from_choices({"epochs": 3, **found.to_choices()}) == found
    assert Calibration.from_choices({"epochs": 3}) == Calibration()
