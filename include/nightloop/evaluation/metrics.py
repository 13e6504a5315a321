"""Metrics over labels and scores, weighted, and many weightings at once for the bootstrap.

Scores are [N]: probability of class 1, or the predicted value; of a multiclass task [N, classes]. Ties in a ranking
count half, as in scikit-learn. `roc_auc` and `pr_auc` of many classes are means of one class against the rest.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from nightloop.evaluation.params import Metric

Floats = NDArray[np.float64]

_LEAST_PROBABILITY = 1e-15
_HALF = 0.5

IS_HIGHER_BETTER: Mapping[str, bool] = {
    "roc_auc": True,
    "pr_auc": True,
    "accuracy": True,
    "log_loss": False,
    "brier": False,
    "rmse": False,
    "mae": False,
}


def compute_metric(metric: Metric, labels: Floats, scores: Floats, threshold: float = 0.5) -> float:
    """Return one metric; NaN where it is not defined, such as a ranking of one class.

    >>> compute_metric("roc_auc", np.array([0.0, 1.0, 1.0]), np.array([0.1, 0.1, 0.9]))
    0.75
    """
    return float(compute_weighted(metric, labels, scores, np.ones((1, len(labels))), threshold)[0])


def compute_weighted(metric: Metric, labels: Floats, scores: Floats, weights: Floats, threshold: float = 0.5) -> Floats:
    """Return one metric per weighting: weights [B, N] → values [B]; row weights of a bootstrap are counts."""
    scores = np.asarray(scores, np.float64)
    labels = np.asarray(labels, np.float64)
    if metric in ("roc_auc", "pr_auc"):
        rank = _roc_auc if metric == "roc_auc" else _average_precision
        if scores.ndim == 1:
            return rank(labels, scores, weights)
        columns = [rank((labels == place).astype(float), scores[:, place], weights) for place in range(scores.shape[1])]
        return np.asarray(np.mean(columns, axis=0))
    losses = _LOSSES[metric](labels, scores, threshold)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = weights @ losses / weights.sum(axis=1)
    return np.sqrt(means) if metric == "rmse" else np.asarray(means)


def row_losses(labels: Floats, scores: Floats, task: str) -> Floats:
    """Return what each row costs, [N]: log loss of a class, absolute error of a value."""
    return (_absolute if task == "regression" else _log_loss)(labels, scores, 0.0)


def gain(metric: Metric, value: float, over: float) -> float:
    """Return by how much a value is better than another, in the metric's units; above zero is better."""
    return value - over if IS_HIGHER_BETTER[metric] else over - value


def find_baseline(metric: Metric, labels: Floats, baseline: tuple[float, ...]) -> float:
    """Return the metric of a model without features: it says the same for every row."""
    return compute_metric(metric, labels, score_without_features(len(labels), baseline))


def score_without_features(rows: int, baseline: tuple[float, ...]) -> Floats:
    """Return the scores of a model without features: [rows], or [rows, classes] for shares of many classes."""
    return np.full(rows, baseline[0]) if len(baseline) == 1 else np.tile(np.asarray(baseline), (rows, 1))


def _grouped(labels: Floats, scores: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return positive and negative weight per distinct score, best score first: [B, groups] each."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    starts = np.concatenate([[0], np.flatnonzero(ranked[1:] != ranked[:-1]) + 1])
    ordered = weights[:, order]
    if len(starts) == len(order):  # no two scores are equal: the sums of the groups are the rows themselves
        positive = ordered * labels[order]
        return positive, ordered - positive
    positive = np.add.reduceat(ordered * labels[order], starts, axis=1)
    return positive, np.add.reduceat(ordered, starts, axis=1) - positive


def _roc_auc(labels: Floats, scores: Floats, weights: Floats) -> Floats:
    if not len(labels):
        return np.full(len(weights), np.nan)
    positive, negative = _grouped(labels, scores, weights)
    below = negative.sum(axis=1, keepdims=True) - np.cumsum(negative, axis=1)
    won = (positive * (below + negative / 2)).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(won / (positive.sum(axis=1) * negative.sum(axis=1)))


def _average_precision(labels: Floats, scores: Floats, weights: Floats) -> Floats:
    if not len(labels):
        return np.full(len(weights), np.nan)
    positive, negative = _grouped(labels, scores, weights)
    found, seen = np.cumsum(positive, axis=1), np.cumsum(positive + negative, axis=1)
    precision = np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((precision * positive).sum(axis=1) / positive.sum(axis=1))


def _log_loss(labels: Floats, scores: Floats, threshold: float) -> Floats:  # noqa: ARG001
    if scores.ndim > 1:
        # an artifact's float32 probabilities do not add up to 1 exactly
        told = scores[np.arange(len(labels)), labels.astype(int)] / scores.sum(axis=1)
    else:
        told = np.where(labels > _HALF, scores, 1.0 - scores)
    return np.asarray(-np.log(np.clip(told, _LEAST_PROBABILITY, 1.0)))


def _brier(labels: Floats, scores: Floats, threshold: float) -> Floats:  # noqa: ARG001
    if scores.ndim > 1:
        return np.asarray(((scores - np.eye(scores.shape[1])[labels.astype(int)]) ** 2).sum(axis=1))
    return (scores - labels) ** 2


def _accuracy(labels: Floats, scores: Floats, threshold: float) -> Floats:
    decided = scores.argmax(axis=1) if scores.ndim > 1 else scores >= threshold
    return np.asarray(decided == labels, np.float64)


def _squared(labels: Floats, scores: Floats, threshold: float) -> Floats:  # noqa: ARG001
    return (scores - labels) ** 2


def _absolute(labels: Floats, scores: Floats, threshold: float) -> Floats:  # noqa: ARG001
    return np.abs(scores - labels)


_LOSSES: Mapping[str, Callable[[Floats, Floats, float], Floats]] = {
    "log_loss": _log_loss,
    "brier": _brier,
    "accuracy": _accuracy,
    "rmse": _squared,
    "mae": _absolute,
}
