"""SHAP values are held against their definition; a summary of them names what moves scores, and nobody."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nightloop.artifact import score_table
from nightloop.evaluation.explanation import Explanation, compute_shap_values, explain_model
from nightloop.training.candidate import fit_candidate
from nightloop.training.params import Recipe, Task, TrainingParams
from nightloop.training.plan import PlannedCandidate
from tests.unit.training.conftest import CATEGORICAL, NUMERIC, make_features, make_rows

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # shap's plots warn when imported
COLUMNS = (*NUMERIC, *CATEGORICAL)
ROWS, BACKGROUND = make_features(15, seed=7), make_features(12, seed=8)


def make_model(work: Path, family: str, task: Task, columns: tuple[str, ...] = COLUMNS) -> bytes:
    recipe = Recipe(family=family)
    numeric, categorical = ([name for name in names if name in columns] for names in (NUMERIC, CATEGORICAL))
    planned = PlannedCandidate(family, recipe, tuple(numeric), tuple(categorical), "v1")
    training = TrainingParams(window_days=60, judging_days=10, candidates=(recipe,))
    return fit_candidate(make_rows(task), planned, work, task, training).model


def mean_score(model: bytes, row: pa.Table, known: tuple[str, ...]) -> float:
    """Mean score of a row of which the other columns are taken from every row of the background."""
    mixed = BACKGROUND
    for name in known:
        place = mixed.schema.get_field_index(name)
        mixed = mixed.set_column(place, name, row.column(name).take([0] * BACKGROUND.num_rows))
    return float(score_table(model, mixed).mean())


def test_of_an_additive_model_they_are_what_each_column_adds(tmp_path: Path) -> None:
    model = make_model(tmp_path, "linear", "regression")
    found = compute_shap_values(model, ROWS, BACKGROUND, COLUMNS)
    for place, name in enumerate(COLUMNS):
        others = tuple(other for other in COLUMNS if other != name)
        expected = [
            float(score_table(model, ROWS.slice(row, 1))[0]) - mean_score(model, ROWS.slice(row, 1), others)
            for row in range(ROWS.num_rows)
        ]
        np.testing.assert_allclose(found.values[:, place], expected, atol=1e-5, err_msg=name)


def test_of_two_columns_that_work_together_they_are_the_mean_of_both_orders(tmp_path: Path) -> None:
    columns = ("distance", "product")
    model = make_model(tmp_path, "gradient_boosting", "binary", columns)
    found = compute_shap_values(model, ROWS, BACKGROUND, columns)
    nothing = mean_score(model, ROWS, ())
    for row in range(ROWS.num_rows):
        one = ROWS.slice(row, 1)
        both, first, second = (mean_score(model, one, known) for known in (columns, columns[:1], columns[1:]))
        expected = [(first - nothing + both - second) / 2, (second - nothing + both - first) / 2]
        np.testing.assert_allclose(found.values[row], expected, atol=1e-6)
    assert found.base == pytest.approx(nothing)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_those_of_a_row_add_up_to_its_score(task: Task, tmp_path: Path) -> None:
    model = make_model(tmp_path, "linear", task)
    found, scores = compute_shap_values(model, ROWS, BACKGROUND, COLUMNS), score_table(model, ROWS)
    if task == "multiclass":
        scores = scores[:, score_table(model, pa.concat_tables([ROWS, BACKGROUND])).mean(axis=0).argmax()]
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), scores, atol=1e-6)


@pytest.fixture(scope="module")
def explanation(tmp_path_factory: pytest.TempPathFactory) -> Explanation:
    model, table = make_model(tmp_path_factory.mktemp("work"), "linear", "binary"), make_features(2000, seed=9)
    is_north = np.array([place == "north" for place in table.column("place").to_pylist()])
    is_first = np.arange(table.num_rows) < 1
    return explain_model(model, table, COLUMNS, [("place", "north", is_north), ("row", "first", is_first)])


def test_a_summary_names_what_moves_the_scores(explanation: Explanation) -> None:
    sizes = list(explanation.importance.values())
    assert set(explanation.importance) == set(COLUMNS)
    assert sizes == sorted(sizes, reverse=True)
    income = [point.mean for point in explanation.dependence["income"]]
    assert income[-1] > 0 > income[0]
    effects = {point.at: point.mean for point in explanation.dependence["place"]}
    assert max(effects, key=lambda place: effects[place]) == "north"
    assert "missing" in effects


def test_a_group_is_told_apart_by_its_drivers(explanation: Explanation) -> None:
    (north,) = explanation.drivers  # a group of one row is nobody's business
    assert next(iter(north.drivers)) == "place"
    assert north.drivers["place"] > 0


def test_a_summary_keeps_no_row(explanation: Explanation) -> None:
    assert all(point.rows >= 5 and point.low <= point.high for points in explanation.dependence.values()
               for point in points)  # fmt: skip
    assert "r0000" not in json.dumps(asdict(explanation))
    assert sum(point.rows for point in explanation.dependence["age"]) == explanation.rows
