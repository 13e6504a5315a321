"""Columns that give the label away together are named together, and no column beside them."""

from collections.abc import Mapping

import numpy as np
import pytest

from tests.unit.leakage.builders import judge, make_columns, refusals

ROWS = 2_000
COLUMNS = make_columns(5, ROWS)
RANDOM = np.random.default_rng(6)
IS_BAD = (RANDOM.random(ROWS) < 0.15).astype(float)
GRANTED = RANDOM.lognormal(9, 0.6, ROWS).round(2)
REPAID = np.where(IS_BAD == 1, GRANTED * RANDOM.uniform(0.1, 0.95, ROWS), GRANTED).round(2)
INTEREST = (GRANTED * RANDOM.uniform(0.02, 0.4, ROWS)).round(2)
START = 1.6e9 + RANDOM.uniform(0, 6e7, ROWS)
SCALE = np.exp(COLUMNS["age"] / 16)
FARE, TIP, TOLL = RANDOM.exponential(12, ROWS), RANDOM.exponential(2, ROWS), RANDOM.choice([0.0, 5.76], ROWS)


def groups(found: Mapping[str, float], rule: str) -> set[frozenset[str]]:
    return {frozenset(name.partition(": ")[2].split(", ")) for name in found if name.startswith(rule)}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        pytest.param({"granted": GRANTED, "repaid": REPAID}, {"granted", "repaid"}, id="difference of two"),
        pytest.param(
            {"granted": GRANTED, "paid": (REPAID + INTEREST).round(2), "interest": INTEREST},
            {"granted", "paid", "interest"},
            id="difference of three",
        ),
        pytest.param(
            {"scale": SCALE, "scaled": SCALE * np.where(IS_BAD, 0.9, 1)},
            {"scale", "scaled"},
            id="ratio",
        ),
        pytest.param(
            {
                "one": (one := RANDOM.choice(["a", "b"], ROWS)),
                "other": np.where(IS_BAD == 1, one, np.where(one == "a", "b", "a")),
            },
            {"one", "other"},
            id="equal categories",
        ),
    ],
)  # fmt: skip
def test_columns_that_tell_the_classes_apart_together(columns: dict[str, np.ndarray], expected: set[str]) -> None:
    found = refusals(judge("binary", {**COLUMNS, **columns}, IS_BAD))
    assert groups(found, "together nearly determine the label") == {frozenset(expected)}
    assert all(name.startswith("together") for name in found)


def test_the_class_of_many_that_two_columns_give_away_is_found() -> None:
    label = np.where(IS_BAD == 1, 2.0, RANDOM.integers(0, 2, ROWS))
    found = refusals(judge("multiclass", {**COLUMNS, "granted": GRANTED, "repaid": REPAID}, label))
    assert groups(found, "together nearly") == {frozenset({"granted", "repaid"})}


@pytest.mark.parametrize(
    ("columns", "label", "expected"),
    [
        pytest.param(
            {"fare": FARE, "tip": TIP, "toll": TOLL}, FARE + TIP + TOLL, {"fare", "tip", "toll"}, id="sum of three"
        ),
        pytest.param(
            {"end": START + 60 * FARE, "start": START},
            FARE,
            {"end", "start"},
            id="difference of instants",
        ),
        pytest.param({"km": FARE, "pace": 1 + TIP}, FARE * (1 + TIP), {"km", "pace"}, id="product"),
        pytest.param({"fare": FARE, "tip": TIP}, np.log(FARE + TIP), {"fare", "tip"}, id="logarithm of a sum"),
        pytest.param(
            {"fare": FARE, "tip": TIP},
            np.where(np.arange(ROWS) % 5 == 0, FARE + TIP + 2.5, FARE + TIP),
            {"fare", "tip"},
            id="sum that fails in a fifth of the rows",
        ),
    ],
)
def test_columns_whose_sum_is_the_label(columns: dict[str, np.ndarray], label: np.ndarray, expected: set[str]) -> None:
    found = refusals(judge("regression", {**COLUMNS, **columns}, label))
    assert groups(found, "together make up the label") == {frozenset(expected)}


def test_a_noisy_sum_is_no_identity() -> None:
    label = FARE + TIP + RANDOM.normal(size=ROWS)
    assert refusals(judge("regression", {**COLUMNS, "fare": FARE, "tip": TIP}, label)) == {}


def test_a_label_that_is_mostly_zero_is_no_sum_of_nothing() -> None:
    label = np.where(RANDOM.random(ROWS) < 0.9, 0.0, FARE)
    assert refusals(judge("regression", COLUMNS, label)) == {}


def test_a_column_refused_alone_drags_no_partner_along() -> None:
    found = refusals(judge("binary", {**COLUMNS, "leak": IS_BAD, "granted": GRANTED}, IS_BAD))
    assert not groups(found, "together")
