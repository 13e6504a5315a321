"""Profiles count every row, alike for one night and for many."""

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from nightloop.drift.history import OTHER, build_history
from nightloop.drift.profile import (
    TOP_CATEGORIES,
    ColumnProfile,
    choose_bins,
    list_empty,
    place_edges,
    profile_frame,
    select_first_full,
)
from nightloop.run import format_night
from tests.unit.drift.builders import night

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SCHEMA = "night string, row_id string, amount double, fixed double, grade string"


def frame_of(spark: "SparkSession", rows: list[tuple[datetime, Any, Any]]) -> "DataFrame":
    cells = [(format_night(at), f"r{number}", amount, 1.0, grade) for number, (at, amount, grade) in enumerate(rows)]
    return spark.createDataFrame(cells, SCHEMA)


def of_column(profiles: list[ColumnProfile], column: str) -> ColumnProfile:
    return next(profile for profile in profiles if profile.column == column)


def test_numbers_fall_into_pinned_bins_and_nan_is_missing(spark: "SparkSession") -> None:
    amounts = [-5.0, 0.0, 9.99, 10.0, 20.0, 20.01, math.inf, -math.inf, math.nan, None]
    frame = frame_of(spark, [(night(0), amount, "a") for amount in amounts])
    profiles = profile_frame(frame, ["amount", "fixed"], [], {"amount": (0.0, 10.0, 20.0), "fixed": (1.0,)})
    amount = of_column(profiles, "amount")
    assert (amount.rows, amount.missing, amount.counts) == (10, 2, {"0": 2, "1": 2, "2": 2, "3": 2})
    assert of_column(profiles, "fixed").counts == {"1": 10}


def test_categories_keep_the_most_frequent_and_count_the_others(spark: "SparkSession") -> None:
    rows = [(night(0), 1.0, f"g{number:03d}") for number in range(TOP_CATEGORIES + 7) for _ in range(1 + (number < 3))]
    grade = of_column(profile_frame(frame_of(spark, [*rows, (night(0), 1.0, None)]), [], ["grade"], {}), "grade")
    assert grade.missing == 1
    assert sum(grade.counts.values()) == len(rows)
    assert grade.counts["g000"] == 2
    assert OTHER in grade.counts
    assert len(grade.counts) <= TOP_CATEGORIES + 2


def test_thirty_nights_at_once_equal_thirty_single_ones(spark: "SparkSession") -> None:
    rows = [
        (night(n % 30), float((n * 37) % 101) if n % 11 else None, "abc"[n % 3] if n % 7 else None) for n in range(3000)
    ]
    frame = frame_of(spark, rows).cache()
    columns, bins = (["amount", "fixed"], ["grade"]), {"amount": place_edges([0, 25, 50, 75, 100]), "fixed": (1.0,)}
    bulk = profile_frame(frame, *columns, bins, 50)
    single = [
        profile
        for position in range(30)
        for profile in profile_frame(frame.where(f"night = '{format_night(night(position))}'"), *columns, bins, 50)
    ]
    assert len(bulk) == 90
    assert bulk == single


def test_bins_come_from_the_first_night_with_enough_rows(spark: "SparkSession") -> None:
    rows = [
        (night(0), 999.0, "a"),
        *((night(1), float(n), "a") for n in range(101)),
        *((night(2), 5.0, "a") for _ in range(200)),
    ]
    first = select_first_full(frame_of(spark, rows), 100)
    assert first is not None
    bins = choose_bins(first, ["amount", "fixed"])
    assert bins["amount"] == (-100.0, *(float(10 * step) for step in range(11)), 200.0)
    assert bins["fixed"] == (1.0,)
    assert select_first_full(frame_of(spark, rows[:3]), 100) is None


def test_a_night_with_few_rows_is_counted_without_a_histogram(spark: "SparkSession") -> None:
    profiles = profile_frame(
        frame_of(spark, [(night(0), 1.0, "a"), (night(0), None, "a")]), ["amount"], [], {"amount": (1.0,)}, 3
    )
    assert [(p.rows, p.missing, p.counts, p.edges) for p in profiles] == [(2, 1, {}, ())]
    assert build_history(profiles).columns == {}


def test_a_night_that_ran_without_rows_is_in_the_record(spark: "SparkSession") -> None:
    profiles = profile_frame(frame_of(spark, [(night(0), 1.0, "a")]), ["amount"], ["grade"], {"amount": (1.0,)})
    empty = list_empty([night(0), night(1)], profiles, ["amount"], ["grade"])
    assert [(p.as_of - timedelta(days=1), p.column, p.rows) for p in empty] == [
        (night(0), "amount", 0),
        (night(0), "grade", 0),
    ]


@pytest.mark.parametrize(
    ("quantiles", "edges"),
    [
        pytest.param([], (0.0,), id="no value at all"),
        pytest.param([3, 3, 3], (3.0,), id="constant"),
        pytest.param([0, 0, 1], (-1.0, 0.0, 1.0, 2.0), id="two values"),
    ],
)
def test_edges_rise(quantiles: list[float], edges: tuple[float, ...]) -> None:
    assert place_edges(quantiles) == edges
