"""The paired bootstrap covers what it says, and keeps entities and cohorts together."""

import numpy as np

from nightloop.evaluation.bootstrap import GainEstimate, JudgedRows, draw_weights, estimate_gain
from nightloop.evaluation.params import PromotionParams


def test_entities_are_drawn_whole_within_their_cohort() -> None:
    cohorts = np.repeat(["c1", "c2"], [6, 4])
    entities = np.array(["a", "a", "b", "b", "c", "c", "a", "d", "e", "f"])
    weights = np.concatenate(list(draw_weights(cohorts, entities, 200, seed=1)))
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 0] != weights[:, 6]).any()
    assert (weights[:, :6:2].sum(axis=1) == 3).all()
    assert (weights[:, 6:].sum(axis=1) == 4).all()


def estimate(metric: str, rows: int, seed: int, resamples: int = 200) -> GainEstimate:
    """Two models that are equally good: each tells the label with noise of its own."""
    random = np.random.default_rng(seed)
    labels = random.normal(size=rows)
    first, second = labels + random.normal(0, 1, rows), labels + random.normal(0, 1, rows)
    judged = JudgedRows(labels, np.zeros(rows), np.arange(rows))
    params = PromotionParams(metric=metric, refresh_margin=0.0, resamples=resamples)
    return estimate_gain(judged, first, second, params, error=0.05, seed=seed)


def test_equal_models_seem_different_as_seldom_as_stated() -> None:
    assert sum(estimate("mae", 300, seed).lower > 0 for seed in range(200)) <= 20


def test_more_rows_see_smaller_gains() -> None:
    assert estimate("rmse", 4000, 0).detectable < 0.5 * estimate("rmse", 400, 0).detectable
