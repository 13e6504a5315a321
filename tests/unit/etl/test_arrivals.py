"""Which night takes which file."""

from datetime import UTC, datetime, timedelta

import pytest

from nightloop.etl.arrivals import (
    HISTORY,
    Arrival,
    Calendar,
    Manifest,
    assign_files,
    declared_period,
    drop_loaded,
    restore_assignment,
)
from nightloop.etl.params import KnownAt
from nightloop.fault import NightloopError

DAY = timedelta(days=1)
T = [datetime(2025, 1, day, tzinfo=UTC) for day in range(1, 8)]
MONTHLY = KnownAt(by="file_name", pattern=r"(?P<year>\d{4})-(?P<month>\d\d)(-(?P<day>\d\d))?")


def _midnight(instant: datetime) -> datetime:
    return instant.replace(hour=0, minute=0, second=0, microsecond=0)


CALENDAR = Calendar(
    at_or_after=lambda instant: instant if instant == _midnight(instant) else _midnight(instant) + DAY,
    following=lambda instant: _midnight(instant) + DAY,
    preceding=lambda instant: _midnight(instant - timedelta(microseconds=1)),
)


def _arrival(at: datetime, path: str = "a.csv") -> Arrival:
    return Arrival(path, 10, at)


def test_night_takes_what_arrived_up_to_its_instant() -> None:
    listing = [_arrival(T[1], "on time"), _arrival(T[1] + DAY / 24, "after"), _arrival(T[0], "before")]
    taken = assign_files(listing, Manifest(), set(), CALENDAR, [T[1]], KnownAt())
    assert [(each.arrival.path, each.known_at, each.known_by) for each in taken] == [("on time", T[1], "arrival")]


def test_file_that_claims_a_closed_night_is_late_and_known_in_the_next_open_one() -> None:
    (late,) = assign_files([_arrival(T[0])], Manifest(), {T[0], T[1]}, CALENDAR, [T[2]], KnownAt())
    assert (late.as_of, late.is_late, late.known_by) == (T[2], True, "arrival")
    assert T[1] < late.known_at <= T[2]


def test_late_file_by_name_is_not_believed_to_have_been_known_before() -> None:
    listing = [_arrival(datetime(2026, 1, 1, tzinfo=UTC), "2025-01-01.csv")]
    (late,) = assign_files(listing, Manifest(), {T[1], T[2]}, CALENDAR, [T[3]], MONTHLY)
    assert (late.as_of, late.known_at, late.known_by) == (T[3], T[3], "arrival")


def test_first_load_believes_declared_history_and_a_later_one_does_not() -> None:
    by_column = KnownAt(by="column", column="at")
    (first,) = assign_files([_arrival(T[2])], Manifest(), set(), CALENDAR, [T[2]], by_column)
    (later,) = assign_files([_arrival(T[3])], Manifest(), {T[2]}, CALENDAR, [T[3]], by_column)
    assert (first.known_at, first.known_by) == (HISTORY, "declared")
    assert (later.known_at, later.known_by) == (T[2] + timedelta(microseconds=1), "declared")


def test_same_content_is_loaded_once() -> None:
    listing = [_arrival(T[1], "a"), _arrival(T[1], "b"), _arrival(T[1], "c")]
    assigned = assign_files(listing, Manifest(), set(), CALENDAR, [T[1]], KnownAt())
    pairs = list(zip(assigned, ["x", "x", "known"], strict=True))
    kept, skipped = drop_loaded(pairs, Manifest({"known": T[0]}))
    assert [each.arrival.path for each, _ in kept] == ["a"]
    assert [each.arrival.path for each in skipped] == ["b", "c"]


@pytest.mark.parametrize(
    "params", [KnownAt(), KnownAt(by="column", column="at"), MONTHLY], ids=["arrival", "column", "name"]
)
@pytest.mark.parametrize("closed", [set(), {T[1]}, {T[0], T[1]}], ids=["first", "late", "later"])
def test_recorded_file_is_restored_as_it_was_assigned(params: KnownAt, closed: set[datetime]) -> None:
    listing = [_arrival(T[0] + DAY / 2, "2025-01-01.csv")]
    (assigned,) = assign_files(listing, Manifest(), closed, CALENDAR, [T[1], T[2]], params)
    assert restore_assignment(listing[0], assigned.as_of, assigned.known_at, CALENDAR, params) == assigned


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("2010-12.csv", datetime(2011, 1, 1, tzinfo=UTC), id="month of December"),
        pytest.param("2024-02-28.csv", datetime(2024, 2, 29, tzinfo=UTC), id="day in a leap year"),
        pytest.param("2024-01.csv", datetime(2024, 2, 1, tzinfo=UTC), id="month of 31 days"),
    ],
)
def test_period_of_a_file_name_is_known_at_its_end(path: str, expected: datetime) -> None:
    assert declared_period(path, MONTHLY) == expected


@pytest.mark.parametrize("path", ["loans.csv", "2010-13.csv"])
def test_file_name_without_a_period_is_refused(path: str) -> None:
    with pytest.raises(NightloopError, match=path):
        declared_period(path, MONTHLY)
