"""Which file belongs to which night: pure bookkeeping over the listing, the manifest and the closed nights."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from nightloop.etl.params import KnownAt
from nightloop.fault import Fault, NightloopError

_INSTANT = timedelta(microseconds=1)
HISTORY = datetime(1900, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Calendar:
    """The ticks of one schedule."""

    at_or_after: Callable[[datetime], datetime]
    following: Callable[[datetime], datetime]
    preceding: Callable[[datetime], datetime]


@dataclass(frozen=True, slots=True)
class Arrival:
    """One landed file, not yet read."""

    path: str
    size: int
    arrived_at: datetime


@dataclass(frozen=True, slots=True)
class Assignment:
    """One file and the night that takes it in.

    `known_at` bounds its rows from below: nothing in it was known earlier. Of a file whose rows carry a declared
    instant (`known_by` is `declared`) it is `HISTORY` when these are believed however old they are.
    """

    arrival: Arrival
    as_of: datetime
    known_at: datetime
    known_by: str
    is_late: bool = False


@dataclass(frozen=True)
class Manifest:
    """What earlier runs loaded: the night of each checksum, and the checksum behind each known file."""

    nights: Mapping[str, datetime] = field(default_factory=dict)
    checksums: Mapping[Arrival, str] = field(default_factory=dict)


def declared_period(path: str, known_at: KnownAt) -> datetime:
    r"""Return when a file's content was known: the start of the period after the one its name gives.

    >>> declared_period("loans/2010-05.csv", KnownAt(by="file_name", pattern=r"(?P<year>\d{4})-(?P<month>\d\d)"))
    datetime.datetime(2010, 6, 1, 0, 0, tzinfo=datetime.timezone.utc)

    Raises:
        NightloopError: the name does not match the pattern, or names no period of the calendar.
    """
    match = re.search(known_at.pattern or "", path)
    try:
        groups = match.groupdict() if match else {}
        start = datetime(int(groups["year"]), int(groups["month"]), int(groups.get("day") or 1), tzinfo=UTC)
    except (KeyError, ValueError) as error:
        raise NightloopError(
            Fault(
                f"file name {path}",
                f"a period by the pattern {known_at.pattern}",
                "none",
                "rename the file, move it away, or mend known_at.pattern in source.yaml",
            )
        ) from error
    if groups.get("day"):
        return start + timedelta(days=1)
    # 31 days after the first of a month always lies the next one
    return (start + timedelta(days=31)).replace(day=1)


def assign_files(
    listing: Iterable[Arrival],
    manifest: Manifest,
    closed: Collection[datetime],
    calendar: Calendar,
    nights: Sequence[datetime],
    params: KnownAt,
) -> list[Assignment]:
    """Return the files that no run has recorded and that the nights still open take in.

    A file that claims a closed night belongs to the next open one, and is late: its rows count as known when that
    night took them in, whatever they declare.
    """
    wanted = set(nights)
    is_first_load = not any(night < nights[0] for night in closed)
    assigned = []
    for arrival in listing:
        if arrival in manifest.checksums:
            continue
        declared = declared_period(arrival.path, params) if params.by == "file_name" else None
        claimed = as_of = calendar.at_or_after(declared or arrival.arrived_at)
        while as_of in closed:
            as_of = calendar.following(as_of)
        if as_of not in wanted:
            continue
        opened = calendar.preceding(as_of) + _INSTANT
        if as_of != claimed:
            # the least step beyond the bound of a punctual file: `restore_assignment` tells late ones by it
            known_at = min(max(arrival.arrived_at, opened + _INSTANT), as_of)
            assigned.append(Assignment(arrival, as_of, known_at, "arrival", is_late=True))
        elif params.by == "column":
            assigned.append(Assignment(arrival, as_of, HISTORY if is_first_load else opened, "declared"))
        else:
            known_by = "declared" if declared else "arrival"
            assigned.append(Assignment(arrival, as_of, declared or arrival.arrived_at, known_by))
    return assigned


def restore_assignment(
    arrival: Arrival, as_of: datetime, known_at: datetime, calendar: Calendar, params: KnownAt
) -> Assignment:
    """Return the assignment that an earlier run recorded: its file keeps its night and what is believed of it."""
    if params.by == "column":
        is_late = known_at > calendar.preceding(as_of) + _INSTANT
    else:
        claimed = declared_period(arrival.path, params) if params.by == "file_name" else arrival.arrived_at
        is_late = known_at != claimed
    known_by = "arrival" if is_late or params.by == "arrival" else "declared"
    return Assignment(arrival, as_of, known_at, known_by, is_late)


def drop_loaded(
    assigned: Sequence[tuple[Assignment, str]], manifest: Manifest
) -> tuple[list[tuple[Assignment, str]], list[Assignment]]:
    """Split (file, checksum) pairs into those to load and those whose content was loaded before or comes twice."""
    kept: dict[str, tuple[Assignment, str]] = {}
    skipped = []
    # of equal contents the first to arrive is loaded, whatever the order of the listing
    for assignment, checksum in sorted(assigned, key=lambda pair: (pair[0].arrival.arrived_at, pair[0].arrival.path)):
        if checksum in manifest.nights or checksum in kept:
            skipped.append(assignment)
        else:
            kept[checksum] = (assignment, checksum)
    return list(kept.values()), skipped
