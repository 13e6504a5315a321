"""Broken feeds: nights whose data is not to be believed, whatever the population did.

A night is held against the nights just before it that were whole. A fault that lasts as long as a baseline is the new
normal: from then on it is the population that changed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from nightloop.drift.distance import Histogram
from nightloop.drift.history import ColumnHistory, History
from nightloop.drift.params import DriftParams

ROW_COUNT = "row_count"
MEMORY_NIGHTS = 14
_FEW = 30
_CONSTANT_SHARE = 0.999
_VARIED_SHARE = 0.7
_QUIET_VOLUME = 0.75


@dataclass(frozen=True, slots=True)
class FeedFault:
    """One thing that broke in one night: the figure found, the figure of whole nights, and the limit on it."""

    column: str
    kind: str
    figure: float
    usual: float
    limit: float

    def __str__(self) -> str:
        if self.kind == "volume":
            return f"{self.figure:,.0f} rows arrived, usually {self.usual:,.0f}"
        words = {
            "missing": "missing values",
            "constant": "one value everywhere",
            "range": "values far outside the range seen before",
        }[self.kind]
        return f"{self.column}: {words} in {self.figure:.0%} of the rows, at most {self.usual:.0%} on the nights before"


FaultLog = Mapping[datetime, tuple[FeedFault, ...]]
_Judge = Callable[[int, Sequence[int]], FeedFault | None]


def find_feed_faults(history: History, params: DriftParams) -> FaultLog:
    """Return the faults of every night that has any. A night's faults depend on no later night."""
    found: dict[datetime, list[FeedFault]] = {}
    for night, fault in _scan_volume(history, params):
        found.setdefault(night, []).append(fault)
    for histories in history.columns.values():
        for column in histories:
            for night, fault in _scan_column(column, params):
                found.setdefault(night, []).append(fault)
    return {night: tuple(sorted(faults, key=lambda fault: fault.column)) for night, faults in found.items()}


def _scan_volume(history: History, params: DriftParams) -> list[tuple[datetime, FeedFault]]:
    rows = np.array([history.rows[night] for night in history.nights], dtype=np.float64)

    def judge(night: int, whole: Sequence[int]) -> FeedFault | None:
        usual, low = float(np.median(rows[whole])), float(np.quantile(rows[whole], 0.2))
        # a low quantile is that of quiet days: where weekends bring less than half, they are not broken each time
        limit = min((1 - params.volume_drop) * usual, _QUIET_VOLUME * low)
        is_broken = usual >= params.min_rows and rows[night] < limit
        return FeedFault(ROW_COUNT, "volume", float(rows[night]), usual, limit) if is_broken else None

    return _scan(history.nights, range(len(rows)), judge, params)


def _scan_column(column: ColumnHistory, params: DriftParams) -> list[tuple[datetime, FeedFault]]:
    def judge(night: int, whole: Sequence[int]) -> FeedFault | None:
        return _judge_column(column, night, whole, params)

    enough = [night for night in range(len(column.nights)) if column.rows[night] >= params.min_rows]
    return _scan(column.nights, enough, judge, params)


def _scan(
    nights: Sequence[datetime], positions: Iterable[int], judge: _Judge, params: DriftParams
) -> list[tuple[datetime, FeedFault]]:
    """Walk the nights in order, each judged by the whole ones before it."""
    faults: list[tuple[datetime, FeedFault]] = []
    whole: list[int] = []
    broken: list[int] = []
    for night in positions:
        fault = judge(night, whole[-MEMORY_NIGHTS:]) if len(whole) >= params.baseline_nights else None
        if fault is None:
            whole.append(night)
            broken = []
            continue
        faults.append((nights[night], fault))
        broken.append(night)
        if len(broken) >= params.baseline_nights:
            whole, broken = broken, []
    return faults


def _judge_column(column: ColumnHistory, night: int, whole: Sequence[int], params: DriftParams) -> FeedFault | None:
    def exceed(kind: str, shares: Histogram, jump: float) -> FeedFault | None:
        usual = float(shares[list(whole)].max())
        limit = usual + jump
        return FeedFault(column.column, kind, float(shares[night]), usual, limit) if shares[night] >= limit else None

    missing = exceed("missing", column.missing_rate, params.missing_jump)
    usual_missing = float(column.missing_rate[list(whole)].max())
    # a column that is mostly missing cannot rise by the jump; that 30 expected values are all gone tells as much
    if missing or (column.missing_rate[night] == 1 and column.rows[night] * (1 - usual_missing) >= _FEW):
        return FeedFault(column.column, "missing", float(column.missing_rate[night]), usual_missing, 1.0)
    usual_top = float(column.top_share[list(whole)].max())
    is_varied = usual_top <= _VARIED_SHARE and column.rows[night] * (1 - column.missing_rate[night]) >= _FEW
    if is_varied and column.top_share[night] >= _CONSTANT_SHARE:
        return FeedFault(column.column, "constant", float(column.top_share[night]), usual_top, _CONSTANT_SHARE)
    return exceed("range", column.outside_share, params.range_jump)
