"""Great Expectations judges a partition by its suite."""

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from nightloop.fault import NightloopError
from nightloop.quality.judge import judge, verdict_error
from nightloop.quality.params import Suite
from nightloop.run import RunKey

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

KEY = RunKey("loans", datetime(2025, 1, 2, tzinfo=UTC))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def _suite(*entries: tuple[str, str, dict[str, Any]]) -> Suite:
    return Suite.model_validate(
        {
            "expectations": [
                {"expect": expect, "severity": severity, "kwargs": kwargs} for expect, severity, kwargs in entries
            ]
        }
    )


@pytest.fixture
def rows(spark: "SparkSession") -> "DataFrame":
    return spark.createDataFrame([(1, 1.0), (2, 2.0), (3, None), (4, 9.0)], "n int, a double")


def test_severity_decides_what_a_failure_means(rows: "DataFrame") -> None:
    suite = _suite(
        ("expect_column_values_to_not_be_null", "warn", {"column": "a"}),
        ("expect_column_values_to_be_between", "fail", {"column": "a", "max_value": 5}),
        ("expect_column_mean_to_be_between", "fail", {"column": "a", "min_value": 3, "max_value": 5}),
        ("expect_column_values_to_be_between", "quarantine", {"column": "n", "max_value": 1}),
        ("expect_table_row_count_to_be_between", "fail", {"min_value": 1}),
    )
    verdict, _ = judge(rows, suite, "clean/loans", KEY)
    assert [check.outcome for check in verdict.checks] == ["warn", "fail", "pass", "pass"]
    assert (verdict.answer, verdict.columns) == ("fail", ("expect_column_values_to_be_between:a",))
    assert [check.figure for check in verdict.checks] == pytest.approx([0.25, 1 / 3, 4.0, 4.0])
    assert "nothing was published" in str(verdict_error(verdict))


def test_quantiles_that_break_the_library_s_own_store_are_judged(rows: "DataFrame") -> None:
    ranges = {"quantiles": [0.5], "value_ranges": [[0, 3]]}
    suite = _suite(
        ("expect_column_quantile_values_to_be_between", "fail", {"column": "a", "quantile_ranges": ranges}),
        ("expect_column_stdev_to_be_between", "warn", {"column": "a", "max_value": 100}),
    )
    verdict, _ = judge(rows, suite, "clean/loans", KEY)
    assert verdict.answer == "pass"
    assert all(check.figure is None or math.isfinite(check.figure) for check in verdict.checks)


@pytest.mark.parametrize(
    ("expect", "kwargs"),
    [
        pytest.param("expect_column_values_to_not_be_null", {"column": "nobody"}, id="unknown column"),
        pytest.param("expect_the_best", {}, id="unknown expectation"),
        pytest.param("expect_column_values_to_be_between", {"column": "a", "nonsense": 1}, id="unknown argument"),
    ],
)
def test_suite_that_cannot_be_evaluated_is_an_error_not_a_verdict(
    rows: "DataFrame", expect: str, kwargs: dict[str, Any]
) -> None:
    with pytest.raises(NightloopError, match=expect):
        judge(rows, _suite((expect, "warn", kwargs)), "clean/loans", KEY)


def test_suite_without_partition_expectations_passes(rows: "DataFrame") -> None:
    verdict, page = judge(rows, Suite(), "clean/loans", KEY)
    assert (verdict.answer, page) == ("pass", "")
