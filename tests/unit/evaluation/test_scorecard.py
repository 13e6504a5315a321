"""The scorecard's figures are scikit-learn's, and their intervals hold them."""

import numpy as np
import pytest
from sklearn import metrics

from nightloop.evaluation.bootstrap import JudgedRows
from nightloop.evaluation.scorecard import Figure, count_decisions, mask_groups, measure_model

RANDOM = np.random.default_rng(2)
ROWS = 2000
COHORTS, ENTITIES = np.repeat(["c1", "c2"], ROWS // 2), np.arange(ROWS)


def measure(labels: np.ndarray, scores: np.ndarray, task: str, **options: object) -> dict[str, Figure]:
    floor = np.full(scores.shape, labels.mean()) if scores.ndim == 1 else np.full(scores.shape, 1 / scores.shape[1])
    found = measure_model(JudgedRows(labels, COHORTS, ENTITIES), scores, floor, task, **options)  # type: ignore[arg-type]
    for figure in found:
        assert figure.low <= figure.value <= figure.high or figure.name == "calibration error", figure
    return {figure.name: figure for figure in found}


def test_binary_figures_are_those_of_scikit_learn() -> None:
    scores = RANDOM.random(ROWS).round(2)
    labels = (RANDOM.random(ROWS) < scores).astype(float)
    found = measure(labels, scores, "binary", threshold=0.6, costs=(1.0, 5.0))
    decided = scores >= 0.6
    oracle = {
        "ROC AUC": metrics.roc_auc_score(labels, scores),
        "average precision": metrics.average_precision_score(labels, scores),
        "Brier score": metrics.brier_score_loss(labels, scores),
        "precision": metrics.precision_score(labels, decided),
        "recall": metrics.recall_score(labels, decided),
        "F1": metrics.f1_score(labels, decided),
        "cost per row": ((decided & (labels == 0)).sum() + 5 * (~decided & (labels == 1)).sum()) / ROWS,
    }
    for name, value in oracle.items():
        assert found[name].value == pytest.approx(value), name
    assert found["precision in the top tenth"].value > 0.85
    assert found["ROC AUC"].without_features == 0.5
    confusion = count_decisions(labels, scores, 0.6)
    (true_negatives, false_positives), (false_negatives, true_positives) = metrics.confusion_matrix(labels, decided)
    assert (confusion.true_positives, confusion.false_positives) == (true_positives, false_positives)
    assert (confusion.false_negatives, confusion.true_negatives) == (false_negatives, true_negatives)


def test_multiclass_figures_are_those_of_scikit_learn() -> None:
    scores = RANDOM.dirichlet([1, 2, 3], ROWS)
    labels = np.array([RANDOM.choice(3, p=row) for row in scores]).astype(float)
    found = measure(labels, scores, "multiclass")
    assert found["macro F1"].value == pytest.approx(metrics.f1_score(labels, scores.argmax(axis=1), average="macro"))
    assert found["ROC AUC"].value == pytest.approx(metrics.roc_auc_score(labels, scores, multi_class="ovr"))
    assert found["log loss"].value == pytest.approx(metrics.log_loss(labels, scores))


def test_regression_figures_are_those_of_scikit_learn() -> None:
    labels = RANDOM.normal(10, 3, ROWS)
    scores = labels + RANDOM.normal(0.5, 1, ROWS)
    found = measure(labels, scores, "regression")
    oracle = {
        "root mean squared error": metrics.root_mean_squared_error(labels, scores),
        "mean absolute error": metrics.mean_absolute_error(labels, scores),
        "mean absolute percentage error": metrics.mean_absolute_percentage_error(labels, scores),
        "mean error": float((scores - labels).mean()),
        "pinball loss at 0.9": metrics.mean_pinball_loss(labels, scores, alpha=0.9),
    }
    for name, value in oracle.items():
        assert found[name].value == pytest.approx(value), name


def test_a_figure_that_one_class_does_not_define_is_left_out() -> None:
    found = measure(np.zeros(ROWS), RANDOM.random(ROWS), "binary")
    assert "ROC AUC" not in found
    assert "Brier score" in found


def test_small_groups_are_left_out_of_the_slices() -> None:
    groups = np.array(["big"] * (ROWS - 20) + ["small"] * 20)
    rows = JudgedRows(np.ones(ROWS), COHORTS, ENTITIES, {"sex": groups})
    ((attribute, group, mask),) = mask_groups(rows)
    assert (attribute, group, mask.sum()) == ("sex", "big", ROWS - 20)
