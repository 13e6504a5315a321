"""Ticks of a folder's schedule: cron in UTC, each tick the as_of of one night."""

from datetime import UTC, datetime, timedelta

from croniter import croniter
from croniter.croniter import CroniterError

# croniter takes a sixth field for seconds, and names such as @daily; nights are named to the minute
_FIELDS = 5
_STEP = timedelta(seconds=1)


def is_schedule(cron: str) -> bool:
    """Tell whether text is a cron expression of five fields that ticks at all.

    >>> is_schedule("0 2 * * *"), is_schedule("0 0 31 2 *"), is_schedule("@daily")
    (True, False, False)
    """
    if len(cron.split()) != _FIELDS:
        return False
    try:
        croniter(cron, datetime(2000, 1, 1, tzinfo=UTC)).get_next(datetime)
    except (CroniterError, ValueError, KeyError):
        return False
    return True


def ticks(cron: str, first: datetime, last: datetime) -> list[datetime]:
    """Return the ticks in [first, last], oldest first.

    >>> [tick.day for tick in ticks("0 2 * * *", datetime(2025, 1, 1, 2, tzinfo=UTC), datetime(2025, 1, 3, tzinfo=UTC))]
    [1, 2]
    """
    found: list[datetime] = []
    tick = first_tick_at_or_after(cron, first)
    while tick <= last:
        found.append(tick)
        tick = next_tick(cron, tick)
    return found


def next_tick(cron: str, instant: datetime) -> datetime:
    """Return the first tick after the instant."""
    tick: datetime = croniter(cron, _utc(instant)).get_next(datetime)
    return tick


def previous_tick(cron: str, instant: datetime) -> datetime:
    """Return the last tick before the instant."""
    whole = _utc(instant).replace(microsecond=0)
    if whole != instant:
        whole += _STEP
    tick: datetime = croniter(cron, whole).get_prev(datetime)
    return tick


def first_tick_at_or_after(cron: str, instant: datetime) -> datetime:
    """Return the night to which something that happened at the instant belongs."""
    return next_tick(cron, _utc(instant) - timedelta(microseconds=1))


def last_tick_at_or_before(cron: str, instant: datetime) -> datetime:
    """Return the youngest night that had begun at the instant."""
    return previous_tick(cron, _utc(instant).replace(microsecond=0) + _STEP)


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError(f"a schedule's instants carry a time zone, found {instant!r}")
    return instant.astimezone(UTC)
