"""Performance is measured per cohort and model, on observed rows only."""

import pyarrow as pa
import pytest

from nightloop.evaluation.cohorts import measure_cohorts


def make_outcomes() -> pa.Table:
    return pa.table(
        {
            "cohort": ["20250101T0000Z"] * 4 + ["20250102T0000Z"] * 2,
            "model_version": [1, 1, 1, 2, 1, 1],
            "score": [0.1, 0.9, 0.4, 0.5, 0.2, 0.3],
            "decision": [0, 1, 0, 1, 0, 0],
            "label": pa.array([0.0, 1.0, None, 1.0, 0.0, 0.0]),
        }
    )


def test_cohorts_and_models_are_measured_apart() -> None:
    found = {
        (one.cohort, one.model_version, one.metric): one for one in measure_cohorts(make_outcomes(), "binary", 0.5)
    }
    first = found["20250101T0000Z", 1, "roc_auc"]
    assert (first.value, first.rows, first.positives) == (1.0, 2, 1)
    assert found["20250101T0000Z", 2, "accuracy"].value == 1.0


def test_a_metric_without_a_value_is_left_out() -> None:
    found = {(one.cohort, one.metric) for one in measure_cohorts(make_outcomes(), "binary", 0.5)}
    assert ("20250102T0000Z", "roc_auc") not in found
    assert ("20250102T0000Z", "brier") in found


def test_regression_counts_no_positives() -> None:
    found = measure_cohorts(make_outcomes(), "regression", 0.5)
    assert {one.metric for one in found} == {"rmse", "mae"}
    assert {one.positives for one in found} == {None}


def test_multiclass_is_measured_by_its_decisions() -> None:
    found = [one for one in measure_cohorts(make_outcomes(), "multiclass", 0.5) if one.cohort == "20250101T0000Z"]
    assert [(one.model_version, one.metric, one.value) for one in found] == [
        (1, "accuracy", pytest.approx(1.0)),
        (2, "accuracy", pytest.approx(1.0)),
    ]
