"""`quarantine` expectations name every bad row."""

from typing import TYPE_CHECKING, Any

import pytest

from nightloop.fault import NightloopError
from nightloop.quality.params import Suite
from nightloop.quality.rules import ROW_RULES, compile_row_rules, split_suite

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROWS = [(1, 1.0, "ab", 2.0), (2, -1.0, "xyz", 1.0), (3, None, None, None), (4, 5.0, "b", 5.0)]


def _suite(expect: str, **kwargs: Any) -> Suite:
    return Suite.model_validate({"expectations": [{"expect": expect, "severity": "quarantine", "kwargs": kwargs}]})


CASES = {
    "not_be_null": ({"column": "a"}, [3]),
    "be_null": ({"column": "a"}, [1, 2, 4]),
    "be_between": ({"column": "a", "min_value": 0, "max_value": 5, "strict_max": True}, [2, 4]),
    "be_in_set": ({"column": "s", "value_set": ["ab", "b"]}, [2]),
    "not_be_in_set": ({"column": "s", "value_set": ["ab"]}, [1]),
    "match_regex": ({"column": "s", "regex": "^a"}, [2, 4]),
    "not_match_regex": ({"column": "s", "regex": "b$"}, [1, 4]),
}


@pytest.mark.parametrize(
    ("expect", "kwargs", "bad"),
    [
        *(pytest.param(f"expect_column_values_to_{name}", *case, id=name) for name, case in CASES.items()),
        pytest.param("expect_column_value_lengths_to_be_between", {"column": "s", "max_value": 2}, [2], id="lengths"),
        pytest.param("expect_column_value_lengths_to_equal", {"column": "s", "value": 2}, [2, 4], id="length"),
        pytest.param(
            "expect_column_pair_values_a_to_be_greater_than_b",
            {"column_A": "b", "column_B": "a", "or_equal": True},
            [],
            id="pair",
        ),
        pytest.param("expect_column_pair_values_to_be_equal", {"column_A": "a", "column_B": "b"}, [1, 2], id="equal"),
        pytest.param(
            "expect_column_values_to_be_between",
            {"column": "a", "min_value": 9, "row_condition": "n > 2"},
            [4],
            id="condition",
        ),
    ],
)
def test_rule_names_its_rows(spark: "SparkSession", expect: str, kwargs: dict[str, Any], bad: list[int]) -> None:
    assert expect in ROW_RULES
    ((name, is_violated),) = compile_row_rules(_suite(expect, **kwargs))
    rows = spark.createDataFrame(ROWS, "n int, a double, s string, b double").where(is_violated).orderBy("n")
    assert [row["n"] for row in rows.collect()] == bad
    assert name.startswith(expect)


def test_everything_that_is_no_row_rule_is_named_at_once() -> None:
    suite = Suite(
        expectations=(
            *_suite("expect_column_mean_to_be_between", column="a").expectations,
            *_suite("expect_column_values_to_be_between", column="a", mostly=0.9).expectations,
        )
    )
    with pytest.raises(NightloopError) as caught:
        compile_row_rules(suite)
    assert [fault.found for fault in caught.value.faults] == ["expect_column_mean_to_be_between", "mostly"]


def test_suite_splits_by_the_columns_it_needs() -> None:
    suite = Suite(
        expectations=(
            *_suite("expect_column_values_to_not_be_null", column="a").expectations,
            *_suite("expect_column_values_to_not_be_null", column="a", row_condition="made > 1").expectations,
        )
    )
    own, rest = split_suite(suite, ["a"])
    assert (len(own.expectations), len(rest.expectations)) == (1, 1)
