"""Decide, without Spark, which rows stand in which file of which night, so that every count is known beforehand."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Literal

from nightloop.folders.schedule import next_tick, previous_tick, ticks
from nightloop.run import format_night
from nightloop.simulate.params import DRIFT_KINDS, Drift, FaultParams

BadKind = Literal["unparseable", "out_of_range", "missing_key", "malformed"]
PortionKind = Literal["good", "duplicate", "correction", "tombstone", BadKind]
BAD_KINDS: tuple[BadKind, ...] = ("unparseable", "out_of_range", "missing_key", "malformed")
_ARRIVES_BEFORE = timedelta(minutes=10)
_LATE_BY = timedelta(hours=3)


@dataclass(frozen=True, slots=True)
class Portion:
    """Rows [first, last) of one cohort as they stand in one file; `months` is the age of the cohort there."""

    kind: PortionKind
    cohort: datetime
    first: int
    last: int
    topic: str = "record"
    months: int = 0

    @property
    def rows(self) -> int:
        return max(0, self.last - self.first)


@dataclass(frozen=True)
class PlannedFile:
    """One file: its name without ending, the instant it arrives, the night it belongs to, and its content."""

    stem: str
    arrived_at: datetime
    as_of: datetime
    portions: tuple[Portion, ...]
    is_late: bool = False


@dataclass(frozen=True)
class Layout:
    """Where in a cohort's rows each fault stands: ranges from 0 up, withdrawn rows at the very end.

    Row numbers mean nothing else (every value is a hash of them), so a range is as good as a random sample.
    """

    cohort: datetime
    rows: int
    faults: FaultParams
    has_late: bool

    @cached_property
    def ranges(self) -> dict[str, tuple[int, int]]:
        shares: dict[str, float] = {
            "late": self.faults.late if self.has_late else 0.0,
            **{kind: float(getattr(self.faults, kind)) for kind in BAD_KINDS},
            "duplicate": self.faults.duplicate,
            "correction": self.faults.corrected,
        }
        found: dict[str, tuple[int, int]] = {}
        start = 0
        for name, share in shares.items():
            found[name] = (start, start + int(self.rows * share))
            start = found[name][1]
        # at the end: a feed that tells nothing of the withdrawn stops before them
        found["tombstone"] = (self.rows - int(self.rows * self.faults.tombstone), self.rows)
        return found

    @property
    def first_withdrawn(self) -> int:
        return self.ranges["tombstone"][0]

    def own(self, end: int, topic: str = "record", months: int = 0) -> Iterator[Portion]:
        """Yield what the cohort's own file holds of the rows below `end`: bad rows, duplicates and good ones."""
        kinds: tuple[PortionKind, ...] = (*BAD_KINDS, "duplicate")
        for kind in kinds:
            first, last = self.ranges[kind]
            yield Portion(kind, self.cohort, first, min(last, end), topic, months)
        yield Portion("good", self.cohort, self.ranges["malformed"][1], end, topic, months)

    def later(self, kind: Literal["correction", "tombstone"], end: int) -> Portion:
        """Return what the next night's file says about the cohort."""
        first, last = self.ranges[kind]
        return Portion(kind, self.cohort, first, min(last, end))

    def late(self, end: int, topic: str = "record", months: int = 0) -> Portion:
        """Return the rows that miss the cohort's own file."""
        first, last = self.ranges["late"]
        return Portion("good", self.cohort, first, min(last, end), topic, months)


@dataclass(frozen=True)
class Plan:
    """The calendar of a simulated world: a pure function of these values, so any night can be planned alone."""

    schedule: str
    start: date
    rows_per_night: int
    season: Sequence[float] = (1.0,)
    season_by: Literal["weekday", "month"] = "weekday"
    drifts: tuple[Drift, ...] = ()
    faults: FaultParams = field(default_factory=FaultParams)

    @cached_property
    def first_instant(self) -> datetime:
        return datetime.combine(self.start, time(), UTC)

    def exists(self, night: datetime) -> bool:
        return night >= self.first_instant

    def before(self, night: datetime, count: int = 1) -> datetime:
        for _ in range(count):
            night = previous_tick(self.schedule, night)
        return night

    def rows(self, night: datetime) -> int:
        """Return the rows of a night's cohort, with its season."""
        slot = night.weekday() if self.season_by == "weekday" else night.month - 1
        return max(1, round(self.rows_per_night * self.season[slot % len(self.season)]))

    def layout(self, night: datetime, *, can_be_late: bool = True) -> Layout:
        """Lay a night's cohort out; every so many nights a part of it is late, where the feed can be."""
        turn = night.toordinal() if self.season_by == "weekday" else night.month
        is_turn = turn % self.faults.late_every == 0
        return Layout(night, self.rows(night), self.faults, can_be_late and is_turn)

    def strengths(self, night: datetime) -> dict[str, float]:
        """Return the strength of each kind of drift in a night's cohort."""
        found: dict[str, float] = dict.fromkeys(DRIFT_KINDS, 0.0)
        for drift in self.drifts:
            if night >= drift.at:
                count = drift.ramp_nights if drift.shape == "sudden" else len(ticks(self.schedule, drift.at, night))
                found[drift.kind] += drift.strength(count)
        return found

    def main_file(self, night: datetime, portions: Iterable[Portion]) -> PlannedFile:
        return PlannedFile(format_night(night), night - _ARRIVES_BEFORE, night, self._existing(portions))

    def late_file(self, night: datetime, portions: Iterable[Portion]) -> PlannedFile:
        """Plan the part of a night that arrives hours after it, so that it belongs to the next one."""
        stem = f"{format_night(night)}-late"
        arrived_at = night + _LATE_BY
        return PlannedFile(stem, arrived_at, next_tick(self.schedule, night), self._existing(portions), is_late=True)

    def _existing(self, portions: Iterable[Portion]) -> tuple[Portion, ...]:
        return tuple(portion for portion in portions if portion.rows and self.exists(portion.cohort))
