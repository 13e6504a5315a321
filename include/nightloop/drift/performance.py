"""Did the champion get worse on labels that have matured?"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np

from nightloop.drift.params import DriftParams

_LARGER_IS_BETTER = {"roc_auc", "pr_auc", "accuracy"}
_LEAST_QUIET = 5
_SD_PER_MAD = 1.4826  # of a normal distribution


class Measured(Protocol):
    """One metric of one model on one matured cohort, as the ledger keeps it; `as_of` is the measuring night."""

    @property
    def as_of(self) -> datetime: ...
    @property
    def cohort_as_of(self) -> datetime: ...
    @property
    def model_version(self) -> int: ...
    @property
    def metric(self) -> str: ...
    @property
    def value(self) -> float | None: ...
    @property
    def rows(self) -> int: ...
    @property
    def positives(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Yardstick:
    """The metric that the champion is held to, its value when it was judged, and how few positives say nothing."""

    metric: str
    reference: float | None
    min_positives: int = 0

    @property
    def is_larger_better(self) -> bool:
        return self.metric in _LARGER_IS_BETTER


@dataclass(frozen=True, slots=True)
class PerformanceFall:
    """The newest measured cohort: its value, its relative loss against the reference, and the limit on the loss."""

    value: float
    loss: float
    limit: float
    is_alarm: bool
    worse: tuple[datetime, ...]
    cohorts: int


def select_measured(
    metrics: Iterable[Measured], as_of: datetime, version: int, yardstick: Yardstick, params: DriftParams
) -> list[Measured]:
    """Return the champion's cohorts measured by `as_of`, oldest first; of each the widest population, measured last."""
    cohorts: dict[datetime, Measured] = {}
    for row in metrics:
        is_champions = row.model_version == version and row.metric == yardstick.metric and row.as_of <= as_of
        is_enough = row.rows >= params.min_rows and (row.positives is None or row.positives >= yardstick.min_positives)
        if not (is_champions and is_enough and row.value is not None and math.isfinite(row.value)):
            continue
        known = cohorts.get(row.cohort_as_of)
        if known is None or (row.as_of, row.rows) > (known.as_of, known.rows):
            cohorts[row.cohort_as_of] = row
    return [cohorts[cohort] for cohort in sorted(cohorts)]


def measure_fall(
    measured: Sequence[Measured], since: datetime | None, yardstick: Yardstick, params: DriftParams
) -> PerformanceFall | None:
    """Hold the last N measured cohorts against the reference; None where nothing was measured or there is no reference.

    Cohorts measured up to `since`, the last request, have been acted upon and count no more.
    """
    if yardstick.reference is None or yardstick.reference == 0:
        return None
    sign = -1 if yardstick.is_larger_better else 1
    losses = [sign * (float(row.value or 0.0) - yardstick.reference) / abs(yardstick.reference) for row in measured]
    fresh = [position for position, row in enumerate(measured) if since is None or row.as_of > since]
    if not fresh:
        return None
    tested = fresh[-params.evidence.n :]
    # the spread is that before the tested cohorts: a fall must not raise its own limit
    limit = max(params.performance_drop, params.quiet_factor * _spread(losses[: tested[0]]))
    worse = tuple(measured[position].cohort_as_of for position in tested if losses[position] >= limit)
    is_alarm = losses[-1] >= limit and len(worse) >= params.evidence.m
    return PerformanceFall(float(measured[-1].value or 0.0), losses[-1], limit, is_alarm, worse, len(tested))


def _spread(losses: Sequence[float]) -> float:
    if len(losses) < _LEAST_QUIET:
        return 0.0
    return _SD_PER_MAD * float(np.median(np.abs(np.array(losses) - np.median(losses))))
