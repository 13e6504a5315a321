"""Random histories of four sources, many in one frame, and what each decision must see of them, by brute force.

A history is drawn from a seed and carries its number as one more key, so that hundreds take one Spark job.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

HOUR = timedelta(hours=1)
STEP = timedelta(days=8)
NIGHTS = [datetime(2025, 1, 16, 2, tzinfo=UTC) + STEP * number for number in range(6)]
FORECAST_NIGHTS = NIGHTS[1::2]  # the weather comes on a schedule of its own
FIRST = NIGHTS[0] - STEP
INSTANT = timedelta(microseconds=1)
EVER = datetime(1900, 1, 1, tzinfo=UTC)
LOOKBACK_DAYS = {"profiles": 20, "payments": 10, "weather": 30}


@dataclass(frozen=True)
class Version:
    """One row of a clean table. `declared`: the day its file states; `loaded`: from when on a run can read it."""

    source: str
    history: int
    key: str
    place: str
    hour: int
    value: int
    known_at: datetime
    night: datetime
    loaded: datetime
    row: int
    known_by: str = "arrival"
    is_deleted: bool = False
    declared: datetime | None = None
    file_known_at: datetime | None = None
    file_known_by: str = "arrival"

    @property
    def exists_from(self) -> datetime:
        """When the row lies in the lake as far as a run can tell: of declared history, since it was known."""
        return max(self.loaded, self.known_at)

    @property
    def order(self) -> tuple[datetime, datetime, int]:
        return self.known_at, self.night, self.row


@dataclass(frozen=True)
class Decision:
    """One row of the spine."""

    history: int
    number: int
    place: str
    hour: int
    decided: datetime
    as_of: datetime

    def sees(self, version: Version) -> bool:
        return version.history == self.history and version.known_at <= self.decided and version.loaded <= self.as_of


@dataclass
class Histories:
    """Some histories: versions by source, and decisions."""

    versions: dict[str, list[Version]] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)

    @classmethod
    def draw(cls, seeds: Sequence[int], *, at_night: bool) -> "Histories":
        """Draw a history per seed; `at_night`: every row is decided at its night, else some are decided before."""
        drawn = cls({name: [] for name in LOOKBACK_DAYS})
        for history, seed in enumerate(seeds):
            chance = random.Random(seed)
            drawn.decisions += _draw_decisions(chance, history, at_night=at_night)
            decided = [decision.decided for decision in drawn.decisions if decision.history == history]
            for version in (
                *_draw_profiles(chance, history, decided),
                *_draw_payments(chance, history, decided),
                *_draw_weather(chance, history),
            ):
                drawn.versions[version.source].append(version)
        return drawn

    def visible(self, source: str, decision: Decision, lookback: Mapping[str, int]) -> Iterator[Version]:
        """Yield what a decision knows of a source: the last version of each record, less the deleted and the old."""
        last: dict[tuple[object, ...], Version] = {}
        for version in sorted(self.versions[source], key=lambda each: each.order):
            if decision.sees(version):
                last[_record(version)] = version
        since = decision.decided - timedelta(days=lookback.get(source, 10_000))
        for version in last.values():
            if _meets(version, decision) and not version.is_deleted and version.known_at > since:
                yield version

    def of_history(self, history: int) -> str:
        """Return one history as text, to be read beside a difference."""
        rows = [each for versions in self.versions.values() for each in versions if each.history == history]
        return "\n".join(str(row) for row in (*rows, *(each for each in self.decisions if each.history == history)))


def _record(version: Version) -> tuple[object, ...]:
    return (version.place, version.hour) if version.source == "weather" else (version.key,)


def _meets(version: Version, decision: Decision) -> bool:
    is_hour = version.source != "weather" or version.hour == decision.hour
    return version.place == decision.place and is_hour


def _night_of(instant: datetime, nights: Sequence[datetime] = NIGHTS) -> datetime:
    return next((night for night in nights if night >= instant), nights[-1])


def _draw_instant(chance: random.Random, ties: Sequence[datetime]) -> datetime:
    """Return an hour of the whole span, now and then one at which something else happens."""
    if chance.random() < 0.2:
        return chance.choice(ties)
    return FIRST + HOUR * chance.randrange(1, 24 * 8 * len(NIGHTS))


def _draw_decisions(chance: random.Random, history: int, *, at_night: bool) -> Iterator[Decision]:
    for number in range(chance.randrange(1, 5)):
        as_of = chance.choice(NIGHTS)
        hours_before = 0 if at_night else chance.choice([0, 0, 1, 30, 100, 191])
        yield Decision(history, number, chance.choice("ab"), chance.randrange(2), as_of - HOUR * hours_before, as_of)


def _draw_profiles(chance: random.Random, history: int, ties: Sequence[datetime]) -> Iterator[Version]:
    """One record per place, told the night after it is known: the semantics of `pandas.merge_asof`."""
    for row in range(chance.randrange(8)):
        known_at = _draw_instant(chance, ties)
        place, night = chance.choice("ab"), _night_of(known_at)
        yield Version("profiles", history, place, place, 0, row, known_at, night, night, row)


def _draw_payments(chance: random.Random, history: int, ties: Sequence[datetime]) -> Iterator[Version]:
    """Several records per place: corrected, deleted, moved, told late or ahead of time, in any order."""
    for row in range(chance.randrange(12)):
        known_at = _draw_instant(chance, ties)
        index = NIGHTS.index(_night_of(known_at)) + chance.choice([0, 0, 0, 1, 2, -1])
        night = NIGHTS[min(max(index, 0), len(NIGHTS) - 1)]
        key, place = chance.choice("xyz"), chance.choice("aab")
        is_deleted = chance.random() < 0.2
        yield Version("payments", history, key, place, 0, row, known_at, night, night, row, is_deleted=is_deleted)


def _draw_weather(chance: random.Random, history: int) -> Iterator[Version]:
    """Rows that declare a month; the first file brings history, later ones are believed from their night before on."""
    for row in range(chance.randrange(6)):
        day = datetime(2024, 12, 1, tzinfo=UTC) + timedelta(days=chance.randrange(105))
        month_end = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        number = chance.choice([0, 0, 1, 2])
        night, opened = FORECAST_NIGHTS[number], (FIRST, *FORECAST_NIGHTS)[number]
        bound, is_late = opened + INSTANT, number > 0 and chance.random() < 0.2
        if is_late:
            bound = night - HOUR * chance.choice([3, 100])
        is_declared = not is_late and (number == 0 or month_end >= bound)
        known_at = month_end if is_declared else bound
        loaded = EVER if is_declared and known_at <= opened else night
        yield Version(
            source="weather",
            history=history,
            key="",
            place=chance.choice("ab"),
            hour=chance.randrange(2),
            value=row,
            known_at=known_at,
            night=night,
            loaded=loaded,
            row=row,
            known_by="declared" if is_declared else "arrival",
            declared=day,
            file_known_at=EVER if number == 0 else bound,
            file_known_by="arrival" if is_late else "declared",
        )
