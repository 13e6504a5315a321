"""A column that gives the label away is refused by name and figure; honest ones are not."""

from collections.abc import Callable

import numpy as np
import pytest

from nightloop.leakage.gate import judge_columns
from nightloop.leakage.params import LeakageParams
from tests.unit.leakage.builders import TASKS, judge, make_columns, make_label, make_sample, refusals

ROWS = 1_500
COLUMNS = make_columns(3, ROWS)
RANDOM = np.random.default_rng(4)
NOISE, UNIFORM = RANDOM.normal(size=ROWS), RANDOM.random(ROWS)
ALONE, PURE = "nearly determines the label: leak", "one value gives the label away: leak"


def text(values: np.ndarray) -> np.ndarray:
    return np.array([f"v{value:g}" for value in values])


@pytest.mark.parametrize("task", TASKS)
def test_honest_columns_pass(task: str) -> None:
    checks = judge(task, COLUMNS, make_label(task, COLUMNS, 3))
    assert {check.outcome for check in checks} == {"pass"}
    assert len(checks) == 5


@pytest.mark.parametrize(
    ("task", "leak"),
    [
        pytest.param("binary", lambda y: y + 0.1 * RANDOM.normal(size=ROWS), id="number"),
        pytest.param("binary", lambda y: -y, id="number, falling"),
        pytest.param("binary", lambda y: np.where(y == 1, np.nan, NOISE), id="missing where it is 1"),
        pytest.param("binary", lambda y: np.where(y == 1, 5 + 0.1 * NOISE, 10 * UNIFORM), id="band"),
        pytest.param("binary", lambda y: np.where(y == 1, 5.0, RANDOM.choice([1.0, 9.0], ROWS)), id="value in between"),
        pytest.param("binary", text, id="category"),
        pytest.param("multiclass", lambda y: np.where(y == 2, 1.0, 0.0), id="one class of three"),
        pytest.param("multiclass", text, id="category of three"),
        pytest.param("regression", np.log, id="logarithm of the label"),
        pytest.param("regression", lambda y: -1000 / y, id="falling transform"),
        pytest.param("regression", lambda y: np.abs(np.log(y) - 20) + 1e-3 * RANDOM.normal(size=ROWS), id="noisy"),
    ],
)  # fmt: skip
def test_a_column_that_nearly_determines_the_label_is_refused(
    task: str, leak: Callable[[np.ndarray], np.ndarray]
) -> None:
    label = make_label(task, COLUMNS, 3)
    found = refusals(judge(task, {**COLUMNS, "leak": leak(label)}, label))
    assert ALONE in found
    assert found[ALONE] >= (0.98 if task == "regression" else 0.97)
    assert {name.partition(": ")[2] for name in found} == {"leak"}


def test_wild_values_do_not_hide_a_leak_nor_make_one() -> None:
    label = make_label("regression", COLUMNS, 3)
    wild = label.copy()
    wild[:3] = 1e9
    honest = RANDOM.normal(size=ROWS)
    honest[:3] = 1e9
    found = refusals(judge("regression", {**COLUMNS, "leak": label, "honest": honest}, wild))
    assert ALONE in found
    assert not [name for name in found if "honest" in name]


@pytest.mark.parametrize(
    "leak",
    [
        pytest.param(lambda y: np.where((y == 1) & (np.arange(ROWS) % 3 == 0), "Y", "N"), id="flag"),
        pytest.param(lambda y: np.where((y == 1) & (np.arange(ROWS) % 3 == 0), 17.5, 0.0), id="amount above zero"),
        pytest.param(lambda y: np.where((y == 1) & (np.arange(ROWS) % 3 == 0), np.nan, 1 + UNIFORM), id="missing"),
    ],
)  # fmt: skip
def test_a_value_that_only_one_class_has_is_refused(leak: Callable[[np.ndarray], np.ndarray]) -> None:
    """A third of the positives carry it, so that no ranking is near perfect."""
    label = (RANDOM.random(ROWS) < 0.2).astype(float)
    assert list(refusals(judge("binary", {**COLUMNS, "leak": leak(label)}, label))) == [PURE]


def test_a_few_pure_rows_are_no_evidence() -> None:
    label = (RANDOM.random(ROWS) < 0.2).astype(float)
    few = np.full(ROWS, "N")
    few[np.flatnonzero(label)[:20]] = "Y"
    assert refusals(judge("binary", {**COLUMNS, "few": few}, label)) == {}


def test_a_category_of_one_row_each_tells_nothing() -> None:
    label = make_label("binary", COLUMNS, 3)
    names = np.array([f"customer {row}" for row in range(ROWS)])
    checks = judge("binary", {"name": names, "age": COLUMNS["age"]}, label)
    assert refusals(checks) == {}
    assert next(check for check in checks if check.name == "nearly determines the label").figure < 0.6


def test_a_date_after_the_decision_is_refused() -> None:
    days = np.array([f"2011-01-{1 + row % 28:02d}" for row in range(ROWS)])
    decided = np.full(ROWS, np.datetime64("2011-01-15").astype("datetime64[s]").astype(float))
    sample = make_sample("binary", {**COLUMNS, "last_payment": days}, make_label("binary", COLUMNS, 3))
    found = refusals(judge_columns(sample, decided, LeakageParams()))
    assert found == {"later than the decision: last_payment": pytest.approx((days > "2011-01-15").mean())}


def test_an_allowed_column_warns_with_its_reason() -> None:
    label = make_label("binary", COLUMNS, 3)
    params = LeakageParams(allowed={"leak": "the lender decides by this very score"})
    checks = judge("binary", {**COLUMNS, "leak": label}, label, params)
    assert refusals(checks) == {}
    warned = next(check for check in checks if check.name == ALONE)
    assert warned.outcome == "warn"
    assert "leak is allowed: the lender decides by this very score" in warned.detail


def test_below_the_limit_there_is_a_warning() -> None:
    label = make_label("binary", COLUMNS, 3)
    strong = label + 0.45 * RANDOM.normal(size=ROWS)
    (check,) = [check for check in judge("binary", {**COLUMNS, "strong": strong}, label) if check.outcome != "pass"]
    assert (check.name, check.outcome, check.limit) == ("nearly determines the label: strong", "warn", 0.97)
    assert 0.9 <= check.figure < 0.97


def test_too_few_rows_of_a_class_are_not_judged() -> None:
    label = np.zeros(ROWS)
    label[:9] = 1
    assert {check.outcome for check in judge("binary", {**COLUMNS, "leak": label}, label)} == {"pass"}
