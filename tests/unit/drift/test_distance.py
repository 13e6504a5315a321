"""Distances agree with scipy and with figures worked out by hand, and do not depend on the row count."""

import numpy as np
import pytest
from scipy.spatial import distance as scipy_distance
from scipy.stats import wasserstein_distance

from nightloop.drift.distance import jensen_shannon, measure_effect, population_stability, scaled_wasserstein

RNG = np.random.default_rng(7)
PAIRS = [
    pytest.param(RNG.integers(1, 900, size).astype(float), RNG.integers(1, 900, size).astype(float), id=f"{size} bins")
    for size in (2, 5, 14, 51)
]
SHARES = np.array([0.1, 0.2, 0.4, 0.2, 0.1])
SHIFTED = np.array([0.05, 0.1, 0.35, 0.3, 0.2])


@pytest.mark.parametrize(("current", "baseline"), PAIRS)
def test_jensen_shannon_is_scipys(current: np.ndarray, baseline: np.ndarray) -> None:
    expected = scipy_distance.jensenshannon(current, baseline, base=2)
    assert jensen_shannon(current, baseline) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("current", "baseline"), PAIRS)
def test_wasserstein_is_scipys_in_spreads_of_the_baseline(current: np.ndarray, baseline: np.ndarray) -> None:
    positions = np.cumsum(np.linspace(0.5, 3.0, len(current)))
    spread = np.sqrt(np.cov(positions, aweights=baseline, ddof=0))
    expected = wasserstein_distance(positions, positions, current, baseline) / spread
    assert scaled_wasserstein(current, baseline, positions) == pytest.approx(expected, rel=1e-9)


def test_population_stability_by_hand() -> None:
    expected = (0.3 - 0.5) * np.log(0.3 / 0.5) + (0.7 - 0.5) * np.log(0.7 / 0.5)
    assert population_stability(np.array([3.0, 7.0]), np.array([5.0, 5.0])) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_no_distance_to_itself(kind: str) -> None:
    assert measure_effect(SHARES * 1000, SHARES * 5000, kind) == 0  # type: ignore[arg-type]


def test_an_empty_bin_costs_the_same_whatever_the_row_count() -> None:
    current, baseline = np.array([0.95, 0.05]), np.array([1.0, 0.0])
    effects = [measure_effect(current * n, baseline * n, "numeric") for n in (2e3, 2e5, 2e7)]
    assert max(effects) < 1.05 * min(effects)
    assert np.isfinite(effects).all()


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_the_effect_of_one_shift_is_that_of_the_population_at_every_size(kind: str) -> None:
    """Averaged over samples, 300 rows show what 300,000 show."""
    rng = np.random.default_rng(1)

    def mean_effect(rows: int) -> float:
        draws = (
            measure_effect(
                rng.multinomial(rows, SHIFTED).astype(float), rng.multinomial(7 * rows, SHARES).astype(float), kind
            )  # type: ignore[arg-type]
            for _ in range(200)
        )
        return float(np.mean(list(draws)))

    assert mean_effect(300) == pytest.approx(mean_effect(300_000), rel=0.1)


@pytest.mark.parametrize("rows", [200, 2_000, 200_000])
def test_two_samples_of_one_population_stay_below_the_limits(rows: int) -> None:
    rng = np.random.default_rng(3)
    shares = np.full(14, 1 / 14)
    effects = [
        measure_effect(
            rng.multinomial(rows, shares).astype(float), rng.multinomial(7 * rows, shares).astype(float), "numeric"
        )
        for _ in range(300)
    ]
    assert max(effects) < 0.2


def test_no_rows_are_no_evidence() -> None:
    assert np.isnan(measure_effect(np.zeros(3), np.ones(3), "numeric"))
