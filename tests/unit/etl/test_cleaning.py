"""Every received row becomes exactly one of good, quarantined, duplicate, superseded."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from nightloop.etl.clean import count_outcomes, over_budget
from nightloop.fault import NightloopError
from nightloop.folders.source import Source
from nightloop.loop.night.cleaning import build_outcomes, count_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

NIGHT = "20250102T0000Z"
KNOWN = datetime(2025, 1, 1, 12, tzinfo=UTC)
LATER = datetime(2025, 1, 1, 13, tzinfo=UTC)
RAW = (
    "id string, amount string, day string, _file string, _row bigint, _checksum string, _arrived_at timestamp, "
    "known_at timestamp, known_by string, _corrupt boolean, _extra string, _offset bigint, _length bigint, "
    "night string, variant string"
)


def _source(**changes: Any) -> Source:
    between = {"column": "amount", "min_value": 0}
    doubled = {"column": "doubled", "max_value": 100}
    document = {
        "name": "loans",
        "owner": "o",
        "description": "d",
        "schedule": "0 0 * * *",
        "start": "2025-01-01",
        "uri": "loans",
        "format": "csv",
        "columns": {
            "id": {"type": "string", "required": True},
            "amount": {"type": "double"},
            "day": {"type": "date"},
        },
        "keys": ["id"],
        "clean_sql": "SELECT id, amount, 2 * amount AS doubled FROM raw",
        "suite": {
            "expectations": [
                {"expect": "expect_column_values_to_be_between", "severity": "quarantine", "kwargs": between},
                {"expect": "expect_column_values_to_be_between", "severity": "quarantine", "kwargs": doubled},
            ]
        },
    }
    return Source.model_validate(document | changes)


def _raw(spark: "SparkSession", *rows: tuple[Any, ...], is_corrupt: bool = False) -> "DataFrame":
    full = [
        (*values, "f", number, "c", KNOWN, known_at, "arrival", is_corrupt, None, None, None, NIGHT, "main")
        for number, (*values, known_at) in enumerate(rows, start=1)
    ]
    return spark.createDataFrame(full, RAW)


def _outcomes(staged: "DataFrame") -> dict[int, str]:
    rows = staged.selectExpr("coalesce(clean._row, aside._row) AS row", "_outcome").collect()
    return {row["row"]: row["_outcome"] for row in rows}


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        pytest.param((None, "1", None, KNOWN), "required:id", id="required value is null"),
        pytest.param(("  ", "1", None, KNOWN), "required:id", id="required value is blank"),
        pytest.param(("a", "x", None, KNOWN), "type:amount", id="no number"),
        pytest.param(("a", "NaN", None, KNOWN), "type:amount", id="NaN"),
        pytest.param(("a", "-Infinity", None, KNOWN), "type:amount", id="infinity"),
        pytest.param(("a", "1", "2025-02-30", KNOWN), "type:day", id="no day of the calendar"),
        pytest.param(("a", "-1", None, KNOWN), "expect_column_values_to_be_between:amount", id="rule on a raw column"),
        pytest.param(
            ("a", "51", None, KNOWN), "expect_column_values_to_be_between:doubled", id="rule on a made column"
        ),
        pytest.param(("a", "1", None, None), "required:known_at", id="no instant"),
        pytest.param(("a", "1", None, datetime(2026, 1, 1, tzinfo=UTC)), "known_at:future", id="instant far ahead"),
    ],
)
def test_bad_row_is_set_aside_with_its_rule(spark: "SparkSession", row: tuple[Any, ...], rule: str) -> None:
    staged = build_outcomes(spark, _raw(spark, row), _source())
    (found,) = staged.select("_outcome", "aside.*").collect()
    assert (found["_outcome"], found["rules"], found["_row"]) == ("quarantined", [rule], 1)
    assert '"id"' in found["content"] or row[0] is None


def test_unparseable_row_keeps_no_content(spark: "SparkSession") -> None:
    staged = build_outcomes(spark, _raw(spark, (None, None, None, KNOWN), is_corrupt=True), _source())
    (found,) = staged.select("aside.*").collect()
    assert (found["rules"], found["content"]) == (["corrupt"], None)


def test_duplicates_and_superseded_versions(spark: "SparkSession") -> None:
    received = _raw(
        spark,
        ("same", "1", None, KNOWN),
        ("same", "1", None, KNOWN),
        ("two", "1", None, KNOWN),
        ("two", "2", None, KNOWN),
        ("sent again", "1", None, KNOWN),
        ("sent again", "1", None, LATER),
        ("back", "1", None, KNOWN),
        ("back", "2", None, KNOWN),
        ("back", "1", None, KNOWN),
        ("corrected", "1", None, KNOWN),
        ("corrected", "2", None, LATER),
    )
    staged = build_outcomes(spark, received, _source())
    outcomes = _outcomes(staged)
    assert {row for row, outcome in outcomes.items() if outcome == "duplicate"} == {1, 6, 7}
    assert {row for row, outcome in outcomes.items() if outcome == "superseded"} == {3, 8}
    assert count_rows(staged, received, [NIGHT])[NIGHT] == {
        "received": 11,
        "readmitted": 0,
        "good": 6,
        "quarantined": 0,
        "duplicate": 3,
        "superseded": 2,
    }


def test_source_that_received_nothing_has_its_schema(spark: "SparkSession") -> None:
    staged = build_outcomes(spark, None, _source())
    assert staged.select("clean.*").columns[:3] == ["id", "amount", "doubled"]
    assert count_rows(staged, None, [NIGHT])[NIGHT]["received"] == 0


def test_treated_personal_data_is_text(spark: "SparkSession") -> None:
    source = _source(
        pii={"amount": {"treatment": "hash"}, "day": {"treatment": "drop"}}, suite={}, clean_sql="SELECT * FROM raw"
    )
    staged = build_outcomes(spark, _raw(spark, ("a", "c0ffee", None, KNOWN)).drop("day"), source)
    assert dict(staged.select("clean.*").dtypes)["amount"] == "string"
    assert "day" not in staged.select("clean.*").columns


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        pytest.param("SELECT amount FROM raw", "select the key columns", id="no key"),
        pytest.param("SELECT id, nobody FROM raw", "nobody", id="unknown column"),
    ],
)
def test_wrong_clean_sql_is_refused(spark: "SparkSession", sql: str, expected: str) -> None:
    with pytest.raises(NightloopError, match=expected):
        build_outcomes(spark, None, _source(clean_sql=sql, suite={}))


def test_counts_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(NightloopError, match="received 2"):
        count_outcomes([("n", "received", 2), ("n", "good", 1)], ["n"])


@pytest.mark.parametrize(
    ("rows", "ratio", "is_over"), [(None, 0.1, False), (9, 0.5, True), (None, 0.05, True), (10, 0.1, False)]
)
def test_stricter_limit_of_the_budget_decides(rows: int | None, ratio: float, is_over: bool) -> None:
    assert bool(over_budget({"n": {"received": 100, "quarantined": 10}}, rows, ratio)) is is_over


@pytest.mark.parametrize("percent", range(1, 100))
def test_budget_is_exact_at_its_boundary(percent: int) -> None:
    answers = [
        bool(over_budget({"n": {"received": 100, "quarantined": percent + step}}, rows, ratio))
        for rows, ratio in ((None, percent / 100), (percent, 1.0))
        for step in (-1, 0, 1)
    ]
    assert answers == [False, False, True] * 2
