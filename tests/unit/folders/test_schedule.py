"""Ticks of schedules."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from nightloop.folders.schedule import (
    first_tick_at_or_after,
    is_schedule,
    last_tick_at_or_before,
    next_tick,
    previous_tick,
    ticks,
)

NIGHTLY = "0 2 * * *"
MONTHLY = "0 2 1 * *"


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc]


def test_ticks_include_both_ends() -> None:
    found = ticks(NIGHTLY, at(2025, 2, 27, 2), at(2025, 3, 2, 2))
    assert found == [at(2025, 2, 27, 2), at(2025, 2, 28, 2), at(2025, 3, 1, 2), at(2025, 3, 2, 2)]


def test_ticks_between_two_nights_are_none() -> None:
    assert ticks(NIGHTLY, at(2025, 2, 27, 3), at(2025, 2, 28, 1)) == []


@pytest.mark.parametrize(
    ("instant", "first", "last", "following", "before"),
    [
        pytest.param(
            at(2025, 1, 1, 2),
            at(2025, 1, 1, 2),
            at(2025, 1, 1, 2),
            at(2025, 2, 1, 2),
            at(2024, 12, 1, 2),
            id="on the tick",
        ),
        pytest.param(
            at(2025, 1, 1, 2) + timedelta(microseconds=1),
            at(2025, 2, 1, 2),
            at(2025, 1, 1, 2),
            at(2025, 2, 1, 2),
            at(2025, 1, 1, 2),
            id="a microsecond after",
        ),
        pytest.param(
            at(2025, 1, 1, 2) - timedelta(microseconds=1),
            at(2025, 1, 1, 2),
            at(2024, 12, 1, 2),
            at(2025, 1, 1, 2),
            at(2024, 12, 1, 2),
            id="a microsecond before",
        ),
    ],
)
def test_neighbours(instant: datetime, first: datetime, last: datetime, following: datetime, before: datetime) -> None:
    assert first_tick_at_or_after(MONTHLY, instant) == first
    assert last_tick_at_or_before(MONTHLY, instant) == last
    assert next_tick(MONTHLY, instant) == following
    assert previous_tick(MONTHLY, instant) == before


def test_other_zones_count_in_utc() -> None:
    instant = datetime(2025, 7, 1, 3, 30, tzinfo=timezone(timedelta(hours=2)))
    tick = first_tick_at_or_after(NIGHTLY, instant)
    assert tick == at(2025, 7, 1, 2)
    assert tick.utcoffset() == timedelta(0)


def test_naive_instant_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        next_tick(NIGHTLY, datetime(2025, 1, 1))  # noqa: DTZ001 - the point of the test


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        pytest.param("*/15 * * * *", True, id="quarters"),
        pytest.param("61 * * * *", False, id="minute 61"),
        pytest.param("0 2 * *", False, id="four fields"),
        pytest.param("0 0 30 2 *", False, id="never"),
        pytest.param("", False, id="empty"),
    ],
)
def test_is_schedule(cron: str, expected: bool) -> None:
    assert is_schedule(cron) is expected
