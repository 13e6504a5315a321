"""Paired bootstrap: how sure a difference between two models on the same rows is.

Entities are resampled with replacement within each cohort, so rows of one entity stay together and the mix of cohorts
stays as it was (a stratified cluster bootstrap: Davison and Hinkley 1997, "Bootstrap Methods and their Application").
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nightloop.evaluation.metrics import IS_HIGHER_BETTER, Floats, compute_weighted
from nightloop.evaluation.params import PromotionParams

Keys = NDArray[np.generic]

_CELLS_PER_CHUNK = 4_000_000  # 32 MB of weights at a time
_POWER = 0.8


@dataclass(frozen=True)
class GainEstimate:
    """The gain of one model over another, its bounds at the asked chance of error, and the smallest gain it could see.

    Each bound is one-sided: the true gain lies beyond it with the chance `error` that the estimate was asked for.
    `detectable` is the gain that the same rows would show, at that chance, in 80 of 100 cases.
    """

    value: float
    lower: float
    upper: float
    detectable: float


@dataclass(frozen=True)
class JudgedRows:
    """Labelled rows whose outcomes matured in the judging window: label, cohort, entity, and groups by attribute.

    `protected` attributes are for fairness, `slices` for the groups that may not become worse.
    """

    labels: Floats
    cohorts: Keys
    entities: Keys
    protected: Mapping[str, Keys] = field(default_factory=dict)
    slices: Mapping[str, Keys] = field(default_factory=dict)

    def take(self, mask: NDArray[np.bool_]) -> "JudgedRows":
        """Return some of the rows, without their groups."""
        return JudgedRows(self.labels[mask], self.cohorts[mask], self.entities[mask])


def estimate_gain(
    rows: JudgedRows, scores: Floats, over: Floats, params: PromotionParams, error: float, seed: int = 0
) -> GainEstimate:
    """Estimate the gain of `scores` over `over`, in the metric of promotion, on the same rows.

    The bounds are the value and so many bootstrap standard errors, by Student's t for the number of resamples: the
    quantiles of a small chance of error lie beyond what some hundred resamples show.
    """
    from scipy.stats import t as student

    metric, labels = params.metric, rows.labels
    sign = 1.0 if IS_HIGHER_BETTER[metric] else -1.0

    def difference(weights: Floats) -> Floats:
        better = compute_weighted(metric, labels, scores, weights)
        return sign * (better - compute_weighted(metric, labels, over, weights))

    value = float(difference(np.ones((1, len(labels))))[0])
    resampled = draw_weights(rows.cohorts, rows.entities, params.resamples, seed)
    drawn = np.concatenate([difference(weights) for weights in resampled])
    # a resample of one class alone has no ranking
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size <= 1:
        return GainEstimate(value, float("-inf"), float("inf"), float("inf"))
    deviation = float(drawn.std(ddof=1))
    reach, power = (float(student.ppf(chance, drawn.size - 1)) * deviation for chance in (1.0 - error, _POWER))
    return GainEstimate(value, value - reach, value + reach, reach + power)


def draw_weights(cohorts: Keys, entities: Keys, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield row weights [B, N] of resamples, chunk by chunk: how often each row's entity was drawn in its cohort."""
    _, cohort_of_row = np.unique(cohorts, return_inverse=True)
    _, entity_of_row = np.unique(entities, return_inverse=True)
    width = int(entity_of_row.max(initial=0)) + 1
    units, unit_of_row = np.unique(cohort_of_row * width + entity_of_row, return_inverse=True)
    sizes = np.unique(units // width, return_counts=True)[1]
    generator = np.random.default_rng(seed)
    chunk = max(1, _CELLS_PER_CHUNK // max(1, len(cohorts)))
    for start in range(0, resamples, chunk):
        count = min(chunk, resamples - start)
        parts = [generator.multinomial(size, np.full(size, 1.0 / size), size=count) for size in sizes]
        yield np.concatenate(parts, axis=1)[:, unit_of_row].astype(np.float64)
