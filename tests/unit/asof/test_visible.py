"""Scoped views in single cases; `test_histories` holds them against brute force."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from nightloop.asof.params import SourceView
from nightloop.asof.visible import AsofSource, Bounds, scope_source
from nightloop.run import format_night

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

HOUR = timedelta(hours=1)
TICKS = [datetime(2025, 1, day, 2, tzinfo=UTC) for day in range(1, 8)]
SCHEMA = (
    "loan int, value string, known_at timestamp, known_by string, _file string, _row bigint, night string, "
    "variant string"
)
Version = tuple[str, datetime, datetime]


def _see(
    spark: "SparkSession",
    versions: Sequence[Version],
    decisions: Sequence[tuple[datetime, datetime]],
    opened: Mapping[str, datetime] | None = None,
) -> list[str]:
    """Return what each (decision, night) sees of one record, of versions (value, known_at, night)."""
    known_by = "arrival" if opened is None else "declared"
    rows = [
        (1, value, known_at, known_by, "f", row, format_night(night), "main")
        for row, (value, known_at, night) in enumerate(versions)
    ]
    view = SourceView(name="loans", record_keys=("loan",), join={"loan": "_loan"})
    source = AsofSource(view, spark.createDataFrame(rows, SCHEMA), opened)
    spine = spark.createDataFrame(
        [(number, 1, decided, format_night(as_of)) for number, (decided, as_of) in enumerate(decisions)],
        "number int, _loan int, _decided timestamp, _night string",
    )
    bounds = Bounds("_decided", "_night", "_decided", min(decisions)[0], TICKS[-1])
    seen = {row["number"]: row["value"] for row in scope_source(source, spine, bounds, view.join).collect()}
    return [seen.get(number, "nothing") for number in range(len(decisions))]


@pytest.mark.parametrize(
    ("versions", "decisions", "expected"),
    [
        pytest.param(
            [("late", TICKS[0] + HOUR, TICKS[4]), ("prompt", TICKS[0] + 2 * HOUR, TICKS[1])],
            [(tick, tick) for tick in TICKS[:6]],
            ["nothing", "prompt", "prompt", "prompt", "prompt", "prompt"],
            id="a late version, known earlier, does not hide the prompt one",
        ),
        pytest.param(
            [("late", TICKS[0] + HOUR, TICKS[4]), ("prompt", TICKS[0] + 3 * HOUR, TICKS[1])],
            [(TICKS[0] + 2 * HOUR, TICKS[1]), (TICKS[0] + 2 * HOUR, TICKS[4]), (TICKS[0] + 3 * HOUR, TICKS[4])],
            ["nothing", "late", "prompt"],
            id="a late version is seen by the decisions between the two",
        ),
        pytest.param(
            [
                ("a", TICKS[0], TICKS[0]),
                ("b", TICKS[1], TICKS[5]),
                ("c", TICKS[2], TICKS[3]),
                ("d", TICKS[3], TICKS[4]),
            ],
            [(TICKS[3], TICKS[number]) for number in (3, 4, 5)] + [(TICKS[1], TICKS[4]), (TICKS[1], TICKS[5])],
            ["c", "d", "d", "a", "b"],
            id="one version succeeds several",
        ),
    ],
)
def test_last_version_of_a_history_out_of_order(
    spark: "SparkSession",
    versions: list[Version],
    decisions: list[tuple[datetime, datetime]],
    expected: list[str],
) -> None:
    assert _see(spark, versions, decisions) == expected


def test_a_declared_instant_of_a_night_is_not_seen_before_that_night(spark: "SparkSession") -> None:
    """A source that comes weekly, and a use case of every night: only what was declared before its week is history."""
    versions = [("history", TICKS[0] - HOUR, TICKS[5]), ("of the week", TICKS[1], TICKS[5])]
    opened = {format_night(TICKS[5]): TICKS[0]}
    seen = _see(spark, versions, [(tick, tick) for tick in TICKS[1:]], opened)
    assert seen == ["history"] * 4 + ["of the week"] * 2
