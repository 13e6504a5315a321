"""Did the population change since it was last acknowledged? Column by column, M of N nights, by effect size."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np

from nightloop.drift.distance import Kind, scaled_wasserstein
from nightloop.drift.history import ColumnHistory
from nightloop.drift.params import DriftParams

SCORE_COLUMN = "score"
_QUIET_QUANTILE = 0.9
_LEAST_QUIET = 5
_MOST_QUIET = 60


@dataclass(frozen=True, slots=True)
class ColumnShift:
    """What one column says tonight; `changed` are the nights under test whose effect reached the limit."""

    column: str
    effect: float
    limit: float
    is_alarm: bool
    kind: Kind
    tested: int
    changed: tuple[datetime, ...]
    baseline: tuple[datetime, ...]
    words: str


@dataclass(frozen=True)
class Segments:
    """A column's nights by position: those that count, cut where the population was acknowledged."""

    column: ColumnHistory
    nights: tuple[int, ...]
    starts: tuple[datetime, ...]

    @property
    def current(self) -> tuple[int, ...]:
        return self.split()[-1]

    def find(self, night: datetime) -> int | None:
        """Return the position of a night among those that count."""
        position = bisect_left(self.column.nights, night)
        is_there = position < len(self.column.nights) and self.column.nights[position] == night
        return position if is_there and position in self.nights else None

    def split(self) -> list[tuple[int, ...]]:
        instants = [self.column.nights[night] for night in self.nights]
        cuts = sorted({0, *(bisect_left(instants, start) for start in self.starts), len(instants)})
        parts = [self.nights[low:high] for low, high in pairwise(cuts)]
        return parts or [()]


def select_nights(
    column: ColumnHistory,
    as_of: datetime,
    broken: Collection[datetime],
    starts: Sequence[datetime],
    params: DriftParams,
) -> Segments:
    """Keep the nights up to `as_of` that have enough rows and in which the column was not broken."""
    until = bisect_right(column.nights, as_of)
    usable = (night for night in range(until) if column.rows[night] >= params.min_rows)
    nights = tuple(night for night in usable if column.nights[night] not in broken)
    return Segments(column, nights, tuple(start for start in starts if start <= as_of))


def measure_shift(segments: Segments, as_of: datetime, params: DriftParams, *, is_first: bool) -> ColumnShift | None:
    """Hold the last N nights against the acknowledged baseline; None where there is too little to tell.

    The baseline is the first `baseline_nights` nights since the population was last acknowledged. Before any
    acknowledgement it must be complete; after one, the nights that there are will do, with the limit of a small pool.
    """
    column, current = segments.column, segments.current
    tested, settled = current[-params.evidence.n :], current[: -params.evidence.n]
    baseline = settled[: params.baseline_nights]
    needed = params.baseline_nights if is_first else 1
    if not tested or column.nights[tested[-1]] != as_of or len(baseline) < needed:
        return None
    limit = set_limit(segments, len(baseline), params)
    effects = [column.measure(night, baseline) for night in tested]
    changed = tuple(column.nights[n] for n, effect in zip(tested, effects, strict=True) if effect >= limit)
    is_alarm = effects[-1] >= limit and len(changed) >= params.evidence.m
    words = describe_change(column, tested[-1], baseline)
    nights = tuple(column.nights[night] for night in baseline)
    return ColumnShift(column.column, effects[-1], limit, is_alarm, column.kind, len(tested), changed, nights, words)


def set_limit(segments: Segments, pool_nights: int, params: DriftParams) -> float:
    """Return the least effect that is drift: the parameter, or `quiet_factor` times what quiet nights show.

    A quiet distance is that of one night to the `pool_nights` nights before it (the first nights: to their fellows).
    So weekdays and noise raise the limit and a slow drift does not. The nights under test are left out.
    """
    column, least = segments.column, least_limit(segments.column, params)
    tested = set(segments.current[-params.evidence.n :])
    distances: list[float] = []
    for segment in segments.split():
        quiet = [night for night in segment if night not in tested]
        size = min(pool_nights, len(quiet) - 1)
        for position in range(len(quiet) if size > 0 else 0):
            start = max(0, position - size)
            pool = [night for night in quiet[start : start + size + 1] if night != quiet[position]]
            distances.append(column.measure(quiet[position], pool))
    if len(distances) < _LEAST_QUIET:
        return least
    usual = float(np.quantile(distances[-_MOST_QUIET:], _QUIET_QUANTILE))
    return max(least, params.quiet_factor * usual)


def least_limit(column: ColumnHistory, params: DriftParams) -> float:
    return params.numeric_distance if column.kind == "numeric" else params.categorical_distance


def describe_change(column: ColumnHistory, night: int, baseline: Sequence[int]) -> str:
    """Name the bin whose share moved most; of a number also how far its rows moved, in standard deviations."""
    pool = column.pool(baseline)
    now, before = column.counts[night] / column.rows[night], pool / pool.sum()
    bin_ = int(np.argmax(np.abs(now - before)))
    words = f"share of {column.bins[bin_]!r} {before[bin_]:.1%} → {now[bin_]:.1%}"
    present = column.counts[night][:-1].sum() and pool[:-1].sum()
    if len(column.edges) < 2 or not present:  # noqa: PLR2004 - one edge spans no range
        return words
    # an open bin has no middle: its rows stand at its edge
    low = (column.edges[0], *column.edges)
    positions = np.array([(left + right) / 2 for left, right in pairwise((*low, column.edges[-1]))])
    moved = scaled_wasserstein(column.counts[night][:-1], pool[:-1], positions)
    return f"{words}, moved by {moved:.2f} standard deviations"
