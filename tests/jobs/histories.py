"""Random histories of a source, and what must become of each of their rows, told row by row without Spark."""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Literal

from tests.jobs.orders import NOT_HUGE, NOT_NEGATIVE, csv, night

Outcome = Literal["good", "quarantined", "duplicate", "superseded"]
AMOUNTS = ("1", "1", "2", "3", "-1", "-5", "-20", "60", "word")
MICROSECOND = timedelta(microseconds=1)
UNMENDABLE = "corrupt"


@dataclass(frozen=True)
class Limits:
    """The suite's two rules: least amount, and the most that its double may be."""

    least: float
    most: float


@dataclass(frozen=True)
class Row:
    """One record of a landed file; an `id` of None is a line that cannot be parsed."""

    file: str
    number: int
    id: str | None
    amount: str
    known_at: datetime
    first_known_at: datetime

    @property
    def place(self) -> tuple[datetime, str, int]:
        return self.first_known_at, self.file, self.number

    def rules(self, limits: Limits) -> tuple[str, ...]:
        if self.id is None:
            return ("corrupt",)
        amount = None if self.amount == "word" else float(self.amount)
        broken = ["required:id"] if not self.id else []
        broken += ["type:amount"] if amount is None else []
        broken += [NOT_NEGATIVE] if amount is not None and amount < limits.least else []
        if not broken and amount is not None and 2 * amount > limits.most:
            return (NOT_HUGE,)
        return tuple(broken)


@dataclass(frozen=True)
class LandedText:
    """One file: when it arrived, before which night's run it lay there, and its records."""

    path: str
    arrived: datetime
    landed_for: int
    rows: tuple[Row, ...]

    @property
    def text(self) -> str:
        name = self.path.partition("/")[0]  # so that no two histories land the same content
        lines = (f"broken-{name}" if row.id is None else f"{row.id},{row.amount},{name}" for row in self.rows)
        return csv(*lines)


@dataclass
class History:
    """One random history with the oracle's books: the outcome of every row in the night that took it."""

    name: str
    files: list[LandedText]
    received: dict[int, list[Row]] = field(default_factory=lambda: defaultdict(list))
    outcomes: dict[int, list[tuple[Row, Outcome]]] = field(default_factory=dict)
    quarantine: dict[int, dict[Row, tuple[str, ...]]] = field(default_factory=dict)
    readmitted: dict[int, list[Row]] = field(default_factory=lambda: defaultdict(list))

    def close(self, number: int, limits: Limits, loaded: set[str]) -> None:
        """Do what land and clean do in one night; `loaded` are the contents that nights took before."""
        for file in sorted(self._landed(number), key=lambda one: (one.arrived, one.path)):
            if file.text not in loaded:
                loaded.add(file.text)
                opened = night(number - 1) + 2 * MICROSECOND
                known_at = file.arrived if file.arrived > night(number - 1) else opened
                self.received[number] += [replace(row, known_at=known_at, first_known_at=known_at) for row in file.rows]
        broken = {row: row.rules(limits) for row in self.received[number]}
        self.quarantine[number] = {row: rules for row, rules in broken.items() if rules}
        kept = [row for row in self.received[number] if not broken[row]]
        stale = [row for row in self.readmitted[number] if self._has_moved_on(row, number, kept)]
        fresh = [row for row in self.readmitted[number] if row not in stale]
        self.outcomes[number] = [
            *((row, "quarantined") for row in self.quarantine[number]),
            *((row, "superseded") for row in stale),
            *classify([*kept, *fresh]),
        ]

    def readmit(self, number: int, limits: Limits, rule: str | None) -> None:
        """Take up again, as of the night, what earlier nights set aside and what passes now."""
        taken = {row.place for rows in self.readmitted.values() for row in rows}
        for earlier, aside in self.quarantine.items():
            for row, rules in aside.items():
                is_asked = UNMENDABLE not in rules and (rule is None or rule in rules)
                if earlier < number and is_asked and row.place not in taken and not row.rules(limits):
                    self.readmitted[number].append(replace(row, known_at=night(number)))

    def count(self, number: int, outcome: Outcome) -> int:
        return sum(found == outcome for _, found in self.outcomes[number])

    def _landed(self, number: int) -> list[LandedText]:
        return [file for file in self.files if file.landed_for == number]

    def _has_moved_on(self, row: Row, number: int, kept: Sequence[Row]) -> bool:
        published = [
            one
            for earlier in range(number)
            for one, outcome in self.outcomes[earlier]
            if outcome == "good" and one.known_at == one.first_known_at
        ]
        return any(one.id == row.id and one.place > row.place for one in [*published, *kept])


def classify(rows: Sequence[Row]) -> Iterator[tuple[Row, Outcome]]:
    """Yield what becomes of good rows of one night: of the versions known at one instant the last counts."""
    ordered = sorted(rows, key=lambda row: (str(row.id), row.known_at, row.place))
    for _, versions in groupby(ordered, key=lambda row: row.id):
        before: str | None = None
        for _, group in groupby(versions, key=lambda row: row.known_at):
            *others, winner = group
            for row in others:
                yield row, "duplicate" if row.amount == winner.amount else "superseded"
            yield winner, "duplicate" if winner.amount == before else "good"
            before = winner.amount


def draw_history(seed: int, nights: int) -> History:
    """Draw the files of one history: corrections, duplicates, late and repeated files, bad rows of every kind."""
    chance, name = random.Random(seed), f"h{seed:03}"
    files: list[LandedText] = []
    for number in range(nights):
        for part in "ab"[: chance.choice((0, 1, 1, 2))]:
            arrived = night(number) - timedelta(minutes=chance.randint(0, 23 * 60))
            path, landed_for = f"{name}/{number}{part}.csv", number + (chance.random() < 0.2)
            rows = tuple(_draw_row(chance, name, path, line, arrived) for line in range(1, chance.randint(2, 7)))
            if files and chance.random() < 0.15:
                rows = tuple(replace(row, file=path) for row in chance.choice(files).rows)
            if landed_for < nights:
                files.append(LandedText(path, arrived, landed_for, rows))
    return History(name, files)


def _draw_row(chance: random.Random, name: str, path: str, number: int, arrived: datetime) -> Row:
    kind = chance.random()
    id_ = None if kind < 0.06 else "" if kind < 0.1 else f"{name}-{chance.choice('xyz')}"
    return Row(path, number, id_, chance.choice(AMOUNTS), arrived, arrived)
