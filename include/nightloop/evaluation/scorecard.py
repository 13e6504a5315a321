"""Everything that the field asks of a model of its task, each figure with its interval and with that of no features."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nightloop.evaluation.bootstrap import JudgedRows, draw_weights
from nightloop.evaluation.calibration import calibration_error
from nightloop.evaluation.checks import list_groups
from nightloop.evaluation.metrics import Floats, compute_weighted
from nightloop.evaluation.params import METRICS_OF_TASK, Metric

Measure = Callable[[Floats, Floats, Floats], Floats]  # labels [N], scores, weights [B, N] → values [B]

_INTERVAL = (0.025, 0.975)
_RESAMPLES = 200  # fewer than the gate's default: nothing is decided by these intervals
_TOP_SHARE = 0.1
_PINBALL_LEVEL = 0.9
_TITLES = {
    "roc_auc": "ROC AUC",
    "pr_auc": "average precision",
    "log_loss": "log loss",
    "brier": "Brier score",
    "accuracy": "accuracy",
    "rmse": "root mean squared error",
    "mae": "mean absolute error",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure on the judged rows, its 95 % interval, and what a model without features would show."""

    name: str
    value: float
    low: float
    high: float
    without_features: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """Judged rows by decision and label."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int


def measure_model(
    rows: JudgedRows,
    scores: Floats,
    without_features: Floats,
    task: str,
    threshold: float = 0.5,
    costs: tuple[float, float] | None = None,
) -> list[Figure]:
    """Return the figures of a task; one that the rows do not define is left out.

    Intervals come from the bootstrap of the gate: entities are drawn within cohorts. `costs` are those of a false
    positive and a false negative.
    """
    measures = dict(_measures(task, threshold, costs))
    drawn: dict[str, list[Floats]] = {name: [] for name in measures}
    for weights in draw_weights(rows.cohorts, rows.entities, _RESAMPLES, seed=0):
        for name, measure in measures.items():
            drawn[name].append(measure(rows.labels, scores, weights))
    once, found = np.ones((1, len(rows.labels))), []
    for name, measure in measures.items():
        value, floor = (float(measure(rows.labels, told, once)[0]) for told in (scores, without_features))
        resampled = np.concatenate(drawn[name])
        known = resampled[np.isfinite(resampled)]
        if np.isfinite(value) and known.size:
            low, high = np.quantile(known, _INTERVAL)
            found.append(Figure(name, value, float(low), float(high), floor))
    return found


def count_decisions(labels: Floats, scores: Floats, threshold: float) -> Confusion:
    """Return the confusion matrix of a binary decision."""
    decided, positive = scores >= threshold, labels > 0
    return Confusion(
        int((decided & positive).sum()),
        int((decided & ~positive).sum()),
        int((~decided & positive).sum()),
        int((~decided & ~positive).sum()),
    )


def _measures(task: str, threshold: float, costs: tuple[float, float] | None) -> Iterator[tuple[str, Measure]]:
    for metric in METRICS_OF_TASK[task]:
        yield _TITLES[metric], partial(_compute, metric, threshold)
    yield (
        "calibration error",
        _each(lambda labels, scores, weights: calibration_error(*_drawn(labels, scores, weights))),
    )
    if task == "binary":
        yield from _decision_measures(threshold, costs)
    if task == "multiclass":
        yield "macro F1", _each(_macro_f1)
    if task == "regression":
        yield "mean absolute percentage error", _mean(_percentage_errors)
        yield "mean error", _mean(lambda labels, scores: scores - labels)
        yield "pinball loss at 0.9", _mean(_pinball)


def _compute(metric: Metric, threshold: float, labels: Floats, scores: Floats, weights: Floats) -> Floats:
    return compute_weighted(metric, labels, scores, weights, threshold)


def _decision_measures(threshold: float, costs: tuple[float, float] | None) -> Iterator[tuple[str, Measure]]:
    def ratio(of: Callable[[Floats, Floats], tuple[Floats, Floats]]) -> Measure:
        def measure(labels: Floats, scores: Floats, weights: Floats) -> Floats:
            part, whole = of(labels, (scores >= threshold).astype(float))
            with np.errstate(invalid="ignore", divide="ignore"):
                return np.asarray((weights @ part) / (weights @ whole))

        return measure

    def cost(labels: Floats, scores: Floats) -> Floats:
        false_positive, false_negative = costs or (0.0, 0.0)
        return np.where(scores >= threshold, false_positive * (1 - labels), false_negative * labels)

    yield "precision", ratio(lambda labels, decided: (decided * labels, decided))
    yield "recall", ratio(lambda labels, decided: (decided * labels, labels))
    yield "F1", ratio(lambda labels, decided: (2 * decided * labels, decided + labels))
    yield "precision in the top tenth", _each(_precision_at_top)
    if costs is not None:
        yield "cost per row", _mean(cost)


def _mean(losses: Callable[[Floats, Floats], Floats]) -> Measure:
    def measure(labels: Floats, scores: Floats, weights: Floats) -> Floats:
        each = losses(labels, scores)
        known = np.isfinite(each)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(weights[:, known] @ each[known] / weights[:, known].sum(axis=1))

    return measure


def _each(of: Callable[[Floats, Floats, Floats], float]) -> Measure:
    def measure(labels: Floats, scores: Floats, weights: Floats) -> Floats:
        return np.array([of(labels, scores, row) for row in weights])

    return measure


def _drawn(labels: Floats, scores: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the rows as often as they were drawn."""
    places = np.repeat(np.arange(len(labels)), weights.astype(int))
    return labels[places], scores[places]


def _precision_at_top(labels: Floats, scores: Floats, weights: Floats) -> float:
    """Share of positives among the tenth of the rows with the highest scores."""
    order = np.argsort(-scores, kind="stable")
    seen = np.cumsum(weights[order])
    top = seen <= max(1.0, _TOP_SHARE * seen[-1])
    taken = weights[order][top]
    return float((taken * labels[order][top]).sum() / taken.sum()) if taken.sum() else float("nan")


def _macro_f1(labels: Floats, scores: Floats, weights: Floats) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels, scores.argmax(axis=1), average="macro", sample_weight=weights, zero_division=0.0))


def _percentage_errors(labels: Floats, scores: Floats) -> Floats:
    """Absolute error over the label, where the label is not 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(labels != 0, np.abs(scores - labels) / np.abs(labels), np.nan))


def _pinball(labels: Floats, scores: Floats) -> Floats:
    over = labels - scores
    return np.asarray(np.maximum(_PINBALL_LEVEL * over, (_PINBALL_LEVEL - 1) * over))


def mask_groups(rows: JudgedRows) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Yield attribute, group and mask of the sliced and protected attributes; small groups are left out."""
    for attribute, values in {**rows.slices, **rows.protected}.items():
        for group in list_groups(values):
            yield attribute, group, values == group
