"""Profiles of many nights, laid out so that any night can be held against any pool of nights."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from typing import Protocol

import numpy as np

from nightloop.drift.distance import Histogram, Kind, measure_effect

MISSING = "missing"
OTHER = "__other__"
_RARE_SHARE = 0.005


class Profiled(Protocol):
    """One column in one night, as the ledger keeps it; a night with too few rows has no counts."""

    @property
    def as_of(self) -> datetime: ...
    @property
    def column(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def missing(self) -> int: ...
    @property
    def edges(self) -> Sequence[float]: ...
    @property
    def counts(self) -> Mapping[str, int]: ...


@dataclass(frozen=True)
class ColumnHistory:
    """One column over the nights that have its histogram on the same bins, oldest first; the last bin is `missing`."""

    column: str
    kind: Kind
    nights: tuple[datetime, ...]
    bins: tuple[str, ...]
    counts: Histogram
    edges: tuple[float, ...] = ()
    # every later night compares the same pairs again
    _effects: dict[tuple[int, tuple[int, ...]], float] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def rows(self) -> Histogram:
        return np.asarray(self.counts.sum(axis=1), dtype=np.float64)

    @cached_property
    def missing_rate(self) -> Histogram:
        return np.asarray(self.counts[:, -1] / np.maximum(self.rows, 1), dtype=np.float64)

    @cached_property
    def top_share(self) -> Histogram:
        """Share of the fullest bin among the values that are present."""
        return np.asarray(self.counts[:, :-1].max(axis=1) / self._present, dtype=np.float64)

    @cached_property
    def outside_share(self) -> Histogram:
        """Share of the present values in the two open bins at the ends; 0 for a category."""
        if len(self.edges) < 2:  # noqa: PLR2004 - one edge spans no range
            return np.zeros(len(self.nights))
        return np.asarray((self.counts[:, 0] + self.counts[:, -2]) / self._present, dtype=np.float64)

    @property
    def _present(self) -> Histogram:
        return np.maximum(self.rows - self.counts[:, -1], 1)

    def pool(self, nights: Sequence[int]) -> Histogram:
        return np.asarray(self.counts[list(nights)].sum(axis=0), dtype=np.float64)

    def measure(self, night: int, pool: Sequence[int]) -> float:
        """Return the effect size between one night and a pool of nights (both by position)."""
        key = (night, tuple(pool))
        if key not in self._effects:
            self._effects[key] = compare_histograms(self.counts[night], self.pool(pool), self.kind)
        return self._effects[key]


@dataclass(frozen=True)
class History:
    """Everything profiled of one use case: per column its histories (one per set of bins), and rows per night."""

    columns: Mapping[str, tuple[ColumnHistory, ...]]
    rows: Mapping[datetime, int]

    @cached_property
    def nights(self) -> tuple[datetime, ...]:
        return tuple(sorted(self.rows))

    def nights_until(self, as_of: datetime) -> tuple[datetime, ...]:
        return self.nights[: bisect_right(self.nights, as_of)]

    def columns_of(self, night: datetime) -> list[ColumnHistory]:
        """Return the histories that hold this night, by column name."""
        found = (history for histories in self.columns.values() for history in histories if night in history.nights)
        return sorted(found, key=lambda history: history.column)


def build_history(profiles: Iterable[Profiled]) -> History:
    """Lay out ledger rows; bins that were pinned anew begin a history of their own."""
    rows: dict[datetime, int] = {}
    groups: dict[tuple[str, str, tuple[float, ...]], list[Profiled]] = defaultdict(list)
    for profile in profiles:
        rows[profile.as_of] = max(rows.get(profile.as_of, 0), profile.rows)
        # without counts a night had too few rows, or nothing but missing values, which is evidence
        if profile.counts or profile.missing == profile.rows > 0:
            groups[profile.column, profile.kind, tuple(profile.edges)].append(profile)
    columns: dict[str, list[ColumnHistory]] = defaultdict(list)
    for (column, _, _), members in groups.items():
        columns[column].append(_lay_out(sorted(members, key=lambda member: member.as_of)))
    return History({column: tuple(histories) for column, histories in columns.items()}, rows)


def compare_histograms(current: Histogram, baseline: Histogram, kind: Kind) -> float:
    """Return the effect size between two histograms; categories rare on both sides count as one."""
    if kind == "categorical" and current.sum() and baseline.sum():
        is_rare = (current / current.sum() < _RARE_SHARE) & (baseline / baseline.sum() < _RARE_SHARE)
        current = np.append(current[~is_rare], current[is_rare].sum())
        baseline = np.append(baseline[~is_rare], baseline[is_rare].sum())
    return measure_effect(current, baseline, kind)


def name_bins(edges: Sequence[float]) -> tuple[str, ...]:
    """Name the bins between edges in words, in order.

    >>> name_bins((0.0, 10.0, 20.0))
    ('below 0', '0 to 10', '10 to 20', 'above 20')
    """
    texts = [f"{edge:.6g}" for edge in edges]
    inner = [f"{low} to {high}" for low, high in pairwise(texts)] or texts
    return (f"below {texts[0]}", *inner, f"above {texts[-1]}")


def _lay_out(members: Sequence[Profiled]) -> ColumnHistory:
    kind: Kind = "numeric" if members[0].kind == "numeric" else "categorical"
    edges = tuple(members[0].edges)
    if kind == "numeric":
        # around a single edge lie three bins: below, at and above it
        keys = [str(position) for position in range(len(edges) + 1 if len(edges) > 1 else 3)]
        bins = name_bins(edges) if edges else ("0", "1", "2")
    else:
        keys = sorted({key for member in members for key in member.counts})
        bins = tuple(keys)
    counts = np.array([[*(m.counts.get(key, 0) for key in keys), m.missing] for m in members], dtype=np.float64)
    nights = tuple(member.as_of for member in members)
    return ColumnHistory(members[0].column, kind, nights, (*bins, MISSING), counts, edges)
