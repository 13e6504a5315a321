"""Every family's artifact is one ONNX file that takes raw columns and scores as the trained model does."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from pydantic import ValidationError
from sklearn.metrics import log_loss, roc_auc_score

from nightloop.artifact import open_model, score_table
from nightloop.training.candidate import ArtifactMismatchError, Candidate, fit_candidate, verify_model
from nightloop.training.params import Recipe, Task, TrainingParams
from tests.unit.training.conftest import CATEGORICAL, NUMERIC, make_features, make_rows, plan

FAMILIES = ("linear", "gradient_boosting", "tabular_net")
QUICK = {"tabular_net": {"epochs": 3, "width": 16, "members": 4, "learning_rate": 0.01}}


def fit(family: str, task: Task, work: Path, choices: dict[str, float] | None = None, **params: object) -> Candidate:
    recipe = Recipe(family=family, params={**QUICK.get(family, {}), **params})
    training = TrainingParams(window_days=60, judging_days=10, candidates=(recipe,), ranks=1)
    return fit_candidate(make_rows(task), plan(recipe), work, task, training, choices)


@pytest.mark.parametrize("family", FAMILIES)
def test_artifact_ranks_new_rows(family: str, tmp_path: Path) -> None:
    new = make_features(2000, seed=1)
    model = fit(family, "binary", tmp_path).model
    scores = score_table(model, new)
    assert [output.type for output in open_model(model).get_outputs()] == ["tensor(float)"]
    assert scores.shape == (2000,)
    assert roc_auc_score(new.column("binary").to_numpy(), scores) > 0.72


@pytest.mark.parametrize("family", FAMILIES)
def test_multiclass_artifact_gives_probabilities(family: str, tmp_path: Path) -> None:
    new = make_features(2000, seed=1)
    scores = score_table(fit(family, "multiclass", tmp_path).model, new)
    labels = new.column("multiclass").to_numpy()
    shares = np.bincount(labels.astype(int)) / len(labels)
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, atol=1e-5)
    assert log_loss(labels, scores / scores.sum(axis=1, keepdims=True)) < log_loss(
        labels, np.tile(shares, (len(labels), 1))
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("target", ["identity", "log1p"])
def test_regression_artifact_beats_the_mean(family: str, target: str, tmp_path: Path) -> None:
    new = make_features(2000, seed=1)
    scores = score_table(fit(family, "regression", tmp_path, target=target).model, new)
    labels = new.column("regression").to_numpy()
    assert np.abs(scores - labels).mean() < 0.85 * np.abs(labels.mean() - labels).mean()


@pytest.mark.parametrize("family", FAMILIES)
def test_same_rows_and_seed_give_the_same_bytes(family: str, tmp_path: Path) -> None:
    first = fit(family, "binary", tmp_path / "first")
    assert first.model == fit(family, "binary", tmp_path / "second").model
    assert first.digest == hashlib.sha256(first.model).hexdigest()


@pytest.mark.parametrize("family", FAMILIES)
def test_frozen_recipe_repeats_the_twin(family: str, tmp_path: Path) -> None:
    twin = fit(family, "binary", tmp_path / "twin")
    refit = fit(family, "binary", tmp_path / "refit", choices=dict(twin.choices))
    assert refit.model == twin.model
    assert refit.choose_scores is None


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_int8_weights_are_smaller_and_score_nearly_the_same(task: Task, tmp_path: Path) -> None:
    plain = fit("tabular_net", task, tmp_path / "plain", width=128, epochs=4)
    small = fit("tabular_net", task, tmp_path / "small", width=128, epochs=4, quantization="int8")
    assert len(small.model) < 0.5 * len(plain.model)
    assert small.model == fit("tabular_net", task, tmp_path / "again", width=128, epochs=4, quantization="int8").model
    new = make_features(2000, seed=1)
    expected, found = score_table(plain.model, new), score_table(small.model, new)
    assert 0 < np.abs(found - expected).max() < 0.1 * np.std(expected)
    alone = score_table(small.model, new.slice(7, 1))
    np.testing.assert_allclose(alone, found[7:8], atol=1e-5 * max(1.0, float(np.std(expected))))


def test_another_quantization_than_int8_is_refused() -> None:
    assert Recipe(family="tabular_net", params={"quantization": "int8"}).name == "tabular_net-int8"
    with pytest.raises(ValidationError, match="quantization must be int8, found int4"):
        Recipe(family="tabular_net", params={"quantization": "int4"})


def test_scores_of_the_choose_window_come_from_a_model_that_never_saw_it(tmp_path: Path) -> None:
    found = fit("gradient_boosting", "binary", tmp_path)
    rows = make_rows("binary")
    assert found.choose_scores is not None
    assert len(found.choose_scores) == rows.choose.num_rows
    assert not np.allclose(found.choose_scores, score_table(found.model, rows.choose))


@pytest.mark.parametrize("family", FAMILIES)
def test_balanced_classes_rank_as_well_and_tell_honest_probabilities(family: str, tmp_path: Path) -> None:
    new = make_features(4000, seed=1)
    labels, scores = new.column("binary").to_numpy(), {}
    for name, params in {"plain": {}, "balanced": {"class_weight": "balanced"}}.items():
        scores[name] = score_table(fit(family, "binary", tmp_path / name, **params).model, new)
        assert abs(scores[name].mean() - labels.mean()) < 0.06  # without calibration: 0.15
    assert not np.allclose(scores["plain"], scores["balanced"])
    assert roc_auc_score(labels, scores["balanced"]) > roc_auc_score(labels, scores["plain"]) - 0.02


def test_focal_loss_trains_another_net_that_is_calibrated(tmp_path: Path) -> None:
    new = make_features(4000, seed=1)
    plain, focal = (
        score_table(fit("tabular_net", "binary", tmp_path / str(gamma), focal_gamma=gamma).model, new)
        for gamma in (0, 2)
    )
    labels = new.column("binary").to_numpy()
    assert not np.allclose(plain, focal)
    assert log_loss(labels, focal) < log_loss(labels, plain) + 0.01


def test_a_wrong_artifact_is_refused(tmp_path: Path) -> None:
    found = fit("linear", "binary", tmp_path)
    table = make_rows("binary").whole
    right = score_table(found.model, table)
    verify_model(found.model, table, right)
    with pytest.raises(ArtifactMismatchError, match="differs from the trained model"):
        verify_model(found.model, table, right + 1e-4)


def test_artifact_has_one_input_per_feature(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(fit("linear", "binary", tmp_path).model)
    assert [entry.name for entry in model.graph.input] == [*NUMERIC, *CATEGORICAL]
    assert [entry.name for entry in model.graph.output] == ["score"]
