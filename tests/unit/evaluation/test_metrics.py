"""Metrics are scikit-learn's, weighted or not."""

import numpy as np
import pytest
from sklearn import metrics as sk

from nightloop.evaluation.metrics import compute_metric, compute_weighted, find_baseline
from nightloop.evaluation.params import METRICS_OF_TASK

RANDOM = np.random.default_rng(0)
LABELS = (RANDOM.random(500) < 0.3).astype(float)
SCORES = np.clip(np.round(0.3 * LABELS + 0.7 * RANDOM.random(500), 2), 0.01, 0.99)
CLASSES = RANDOM.integers(0, 3, 500).astype(float)
SHARES = RANDOM.dirichlet(np.ones(3), 500) + 0.5 * np.eye(3)[CLASSES.astype(int)]
SHARES /= SHARES.sum(axis=1, keepdims=True)
VALUES, TOLD = RANDOM.normal(size=500), RANDOM.normal(size=500)
WEIGHTS = RANDOM.integers(0, 4, 500).astype(float)

BINARY = {
    "roc_auc": sk.roc_auc_score,
    "pr_auc": sk.average_precision_score,
    "log_loss": sk.log_loss,
    "brier": sk.brier_score_loss,
    "accuracy": lambda y, s, sample_weight=None: sk.accuracy_score(y, s >= 0.5, sample_weight=sample_weight),
}
REGRESSION = {"rmse": sk.root_mean_squared_error, "mae": sk.mean_absolute_error}


@pytest.mark.parametrize("metric", BINARY)
def test_binary_metrics(metric: str) -> None:
    assert compute_metric(metric, LABELS, SCORES) == pytest.approx(BINARY[metric](LABELS, SCORES))
    weighted = compute_weighted(metric, LABELS, SCORES, WEIGHTS[None])[0]
    assert weighted == pytest.approx(BINARY[metric](LABELS, SCORES, sample_weight=WEIGHTS))


@pytest.mark.parametrize("metric", REGRESSION)
def test_regression_metrics(metric: str) -> None:
    assert compute_metric(metric, VALUES, TOLD) == pytest.approx(REGRESSION[metric](VALUES, TOLD))
    weighted = compute_weighted(metric, VALUES, TOLD, WEIGHTS[None])[0]
    assert weighted == pytest.approx(REGRESSION[metric](VALUES, TOLD, sample_weight=WEIGHTS))


def test_multiclass_metrics() -> None:
    assert compute_metric("log_loss", CLASSES, SHARES) == pytest.approx(sk.log_loss(CLASSES, SHARES))
    expected = sk.roc_auc_score(CLASSES, SHARES, multi_class="ovr", average="macro")
    assert compute_metric("roc_auc", CLASSES, SHARES) == pytest.approx(expected)
    assert compute_metric("accuracy", CLASSES, SHARES) == pytest.approx((SHARES.argmax(axis=1) == CLASSES).mean())


@pytest.mark.parametrize("metric", ["roc_auc", "pr_auc"])
def test_a_ranking_without_positives_is_not_defined(metric: str) -> None:
    assert np.isnan(compute_metric(metric, np.zeros(4), np.arange(4.0)))


def test_a_model_without_features_ranks_by_chance() -> None:
    assert find_baseline("roc_auc", LABELS, (0.3,)) == pytest.approx(0.5)
    assert find_baseline("pr_auc", LABELS, (0.3,)) == pytest.approx(LABELS.mean())


def test_every_metric_belongs_to_a_task() -> None:
    assert {metric for metrics in METRICS_OF_TASK.values() for metric in metrics} == {*BINARY, *REGRESSION}
