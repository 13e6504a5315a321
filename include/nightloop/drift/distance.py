"""How far two histograms over the same bins lie apart: effect sizes that do not grow with the row count."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["numeric", "categorical"]
Histogram = NDArray[np.float64]

FLOOR_SHARE = 0.01
# of a small difference the index is so many times the divergence in bits: `noise` is stated in the former
_BITS_PER_PSI = 8 * np.log(2)


def population_stability(current: Histogram, baseline: Histogram, floor_share: float = 0.0) -> float:
    """Return the population stability index, sum((p - q) ln(p / q)); 0.1 is said to be small, 0.25 large.

    `floor_share` of both sides is spread evenly over the bins, so that an empty bin costs the same whatever the row
    count. Without it a bin that is empty on one side only makes the index infinite.
    Source: B. Yurdakul, Statistical Properties of Population Stability Index, 2018.

    >>> round(population_stability(np.array([30.0, 70.0]), np.array([50.0, 50.0])), 4)
    0.1695
    """
    p, q = _floored(current, floor_share), _floored(baseline, floor_share)
    used = (p > 0) | (q > 0)
    with np.errstate(divide="ignore"):
        return float(np.sum((p[used] - q[used]) * (np.log(p[used]) - np.log(q[used]))))


def jensen_shannon(current: Histogram, baseline: Histogram) -> float:
    """Return the Jensen-Shannon distance with base 2: 0 for equal shares, 1 where nothing is shared.

    >>> jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    1.0
    """
    return float(np.sqrt(_jensen_shannon_bits(_shares(current), _shares(baseline))))


def scaled_wasserstein(current: Histogram, baseline: Histogram, positions: Histogram) -> float:
    """Return the earth mover's distance in standard deviations of the baseline; each bin's rows stand at its position.

    A baseline without spread gives 0 where nothing moved and infinity otherwise.
    """
    p, q = _shares(current), _shares(baseline)
    moved = float(np.sum(np.abs(np.cumsum(p - q))[:-1] * np.diff(positions)))
    spread = float(np.sqrt(np.sum(q * (positions - np.sum(q * positions)) ** 2)))
    if spread == 0:
        return 0.0 if moved == 0 else float("inf")
    return moved / spread


def measure_effect(current: Histogram, baseline: Histogram, kind: Kind) -> float:
    """Return PSI (numeric) or Jensen-Shannon distance (categorical) less what sampling alone would show.

    Two samples of n and m rows of one population differ by (bins - 1)(1/n + 1/m) in PSI on average; without that
    correction small nights look drifted. An empty side gives nan: no evidence.
    """
    n, m = float(current.sum()), float(baseline.sum())
    if n == 0 or m == 0:
        return float("nan")
    # a bin that is empty on both sides adds no noise
    bins = int(np.count_nonzero(current + baseline))
    noise = (bins - 1) * (1 / n + 1 / m)
    if kind == "numeric":
        return max(0.0, population_stability(current, baseline, FLOOR_SHARE) - noise)
    bits = _jensen_shannon_bits(_shares(current), _shares(baseline))
    return float(np.sqrt(max(0.0, bits - noise / _BITS_PER_PSI)))


def _shares(counts: Histogram) -> Histogram:
    return np.asarray(counts / counts.sum(), dtype=np.float64)


def _floored(counts: Histogram, floor_share: float) -> Histogram:
    return (1 - floor_share) * _shares(counts) + floor_share / len(counts)


def _jensen_shannon_bits(p: Histogram, q: Histogram) -> float:
    middle = (p + q) / 2
    return max(0.0, (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2)


def _relative_entropy(p: Histogram, q: Histogram) -> float:
    used = p > 0
    return float(np.sum(p[used] * np.log2(p[used] / q[used])))
