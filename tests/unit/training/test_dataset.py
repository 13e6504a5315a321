"""Training rows as of a cut know nothing that came later."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from nightloop.fault import NightloopError
from nightloop.run import format_night
from nightloop.training.dataset import (
    ContentHash,
    join_labels,
    matured_labels,
    prepare_rows,
    select_window,
)

START = datetime(2025, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def make_labels(days: int, lag_days: int = 5) -> pa.Table:
    """One row a day, matured `lag_days` later; every seventh was never observed."""
    decided = [START + day * DAY for day in range(days)]
    return pa.table(
        {
            "row_id": [f"r{day:03d}" for day in range(days)],
            "decision_time": pa.array(decided, pa.timestamp("us", "UTC")),
            "cohort": [format_night(instant) for instant in decided],
            "label": [float(day % 2) for day in range(days)],
            "is_observed": [day % 7 != 0 for day in range(days)],
            "night": pa.array([format_night(instant + lag_days * DAY) for instant in decided]).dictionary_encode(),
        }
    )


def make_features(days: int) -> pa.Table:
    decided = pa.array([START + day * DAY for day in range(days)], pa.timestamp("us", "UTC"))
    return pa.table({"row_id": [f"r{day:03d}" for day in range(days)], "decision_time": decided, "x": range(days)})


def test_labels_that_mature_after_the_cut_are_absent() -> None:
    known = matured_labels(make_labels(40), None, START + 20 * DAY)
    assert max(known.column("cohort").to_pylist()) == format_night(START + 15 * DAY)


def test_judged_labels_begin_where_the_fitted_end() -> None:
    labels, cut, end = make_labels(40), START + 20 * DAY, START + 30 * DAY
    fitted = set(matured_labels(labels, None, cut).column("row_id").to_pylist())
    judged = set(matured_labels(labels, cut, end).column("row_id").to_pylist())
    assert not fitted & judged
    assert fitted | judged == set(matured_labels(labels, None, end).column("row_id").to_pylist())


def test_unobserved_outcomes_take_part_in_nothing() -> None:
    known = matured_labels(make_labels(40), None, START + 100 * DAY)
    assert not {"r000", "r007", "r014"} & set(known.column("row_id").to_pylist())


def test_the_window_reaches_back_from_the_cut() -> None:
    known = select_window(make_labels(40), START + 39 * DAY, 10)
    assert known.column("row_id").to_pylist()[0] == "r029"


def test_choose_rows_are_the_youngest_whole_cohorts() -> None:
    cohorts = np.repeat(["c1", "c2", "c3", "c4"], [40, 30, 20, 10])
    table = pa.table({"row_id": [f"{place:03d}" for place in range(100)], "cohort": cohorts, "label": np.zeros(100)})
    rows = prepare_rows(table, START, 0.15)
    assert set(rows.choose.column("cohort").to_pylist()) == {"c3", "c4"}
    assert not set(rows.choose.column("cohort").to_pylist()) & set(rows.fit.column("cohort").to_pylist())


def test_one_cohort_is_cut_within() -> None:
    table = pa.table({"row_id": ["a", "b", "c", "d"], "cohort": ["c1"] * 4, "label": [0.0, 1.0, 0.0, 1.0]})
    rows = prepare_rows(table, START, 0.25)
    assert (rows.fit.num_rows, rows.choose.num_rows) == (3, 1)


def test_weight_halves_per_half_life() -> None:
    labels = make_labels(21)
    weights = prepare_rows(labels, START + 20 * DAY, 0.2, half_life_days=10).whole.column("weight").to_numpy()
    np.testing.assert_allclose(weights[[0, 10, 20]], [0.25, 0.5, 1.0])


def test_labelled_rows_without_features_are_named() -> None:
    with pytest.raises(NightloopError, match="1 of 10 without, for example r009"):
        join_labels(make_features(9), make_labels(10))


def test_joined_rows_are_in_order_of_decision() -> None:
    shuffled = make_features(10).take([3, 1, 0, 2, 9, 8, 7, 6, 5, 4])
    assert join_labels(shuffled, make_labels(10)).column("row_id").to_pylist() == [f"r{day:03d}" for day in range(10)]


def hash_of(*parts: pa.Table) -> str:
    content = ContentHash()
    for part in parts:
        content.add(part)
    return content.hexdigest()


def test_content_hash_sees_values_and_not_how_they_came() -> None:
    table = join_labels(make_features(10), make_labels(10))
    changed = table.set_column(table.schema.get_field_index("label"), "label", pa.array([9.0] * 10))
    swapped = pa.concat_tables([table.slice(1, 1), table.slice(0, 1), table.slice(2)])
    assert hash_of(table.slice(0, 5), table.slice(5).select(table.column_names[::-1])) == hash_of(table)
    shuffled = make_features(10).take([3, 1, 0, 2, 9, 8, 7, 6, 5, 4])
    assert hash_of(join_labels(shuffled, make_labels(10))) == hash_of(table), "joined rows come in one order"
    assert len({hash_of(table), hash_of(changed), hash_of(swapped), hash_of(table.slice(0, 9))}) == 4


def test_too_few_rows_are_refused_with_advice() -> None:
    with pytest.raises(NightloopError, match="wait until more labels mature"):
        prepare_rows(make_labels(1), START, 0.2)
