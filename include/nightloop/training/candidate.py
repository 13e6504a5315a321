"""Fit one recipe on training rows and pack it, with its encoder, as one verified ONNX artifact."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nightloop.artifact import score_table
from nightloop.training import gradient_boosting, linear, tabular_net
from nightloop.training.calibration import Calibration
from nightloop.training.dataset import LABEL, WEIGHT, TrainingRows
from nightloop.training.encoder import Encoder, fit_encoder
from nightloop.training.graph import Graph
from nightloop.training.params import Params, Task, TrainingParams
from nightloop.training.plan import PlannedCandidate
from nightloop.training.problem import PARITY_ROWS, SPEED, Choices, Choosing, Family, Fitted, Matrix, Problem
from nightloop.training.target import Target
from nightloop.training.tuning import Tuned, tune_recipe

Floats = NDArray[np.float64]

PARITY_TOLERANCE = 1e-5

FAMILIES: Mapping[str, Family] = {
    "tabular_net": Family(tabular_net.choose_tabular_net, tabular_net.fit_tabular_net, tabular_net.SPACE),
    "gradient_boosting": Family(
        gradient_boosting.choose_gradient_boosting, gradient_boosting.fit_gradient_boosting, gradient_boosting.SPACE
    ),
    "linear": Family(linear.choose_linear, linear.fit_linear, linear.SPACE),
}


class ArtifactMismatchError(Exception):
    """The ONNX artifact does not score as the trained model does; it is not saved."""


@dataclass(frozen=True)
class Candidate:
    """A fitted recipe: its artifact, what was chosen on the choose window, and the scores made there.

    `params` are the recipe's parameters, with those that a search found in place; `tuned` tells of that search.
    `baseline` is what a model without features would say: the weighted mean label, or class shares.
    """

    model: bytes
    choices: Choices
    choose_scores: Floats | None
    baseline: tuple[float, ...]
    seconds: float
    params: Params
    tuned: Tuned | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def epochs(self) -> list[dict[str, float]]:
        """Losses per epoch of the fit that chose, for a log."""
        curve = self.facts.get("curve") or self.facts.get("final_curve") or []
        return [{"loss": trained, "choose_loss": judged} for trained, judged in curve]

    @property
    def speed(self) -> dict[str, float]:
        """How fast the last fit went, and what it took of the GPU, where the family tells."""
        return {name: float(self.facts[name]) for name in SPEED if name in self.facts}

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.model).hexdigest()


def fit_candidate(
    rows: TrainingRows,
    planned: PlannedCandidate,
    work: Path,
    task: Task,
    params: TrainingParams,
    choices: Choices | None = None,
) -> Candidate:
    """Fit a recipe on everything known at the cut of `rows`; encoded, they lie in files beside `work` meanwhile.

    Without `choices` they are made first, by fits on the older part of the window and a look at its youngest part: the
    parameters where the recipe searches for them, the family's own, and the calibration. With them the recipe is
    frozen. The artifact takes raw feature columns and is held against the trained model. With the recipe's
    `class_weight: balanced` every class weighs the same in a fit. With `quantization: int8` the artifact that was held
    against the model is then stored in int8, and that one is what the gate judges.

    Raises:
        ArtifactMismatchError: the artifact's scores differ from the model's by more than 1e-5 of the scores' scale.
        TrainingError: a rank of a distributed training failed.
    """
    started = time.monotonic()
    recipe, labels = planned.recipe, _labels(rows.whole)
    target = Target.fit(task, labels, recipe.params)
    seconds, accelerator = params.budget_minutes * 60, params.accelerator
    problem = Problem(task, target.classes, recipe.params, params.seed, work, params.ranks, seconds, accelerator)
    encoder = _fit_encoder(rows.whole, planned, problem)
    work.parent.mkdir(parents=True, exist_ok=True)
    # beside `work` and not in it: `tabular_net` empties that folder where another training lies in it
    with TemporaryDirectory(prefix=f"{work.name}-rows-", dir=work.parent) as folder:
        encoded = Path(folder)
        whole = _weigh(problem, _matrix(encoder, rows.whole, target, encoded / "whole.npy"))
        family, tuned = FAMILIES[recipe.family], None
        window = None if choices is not None else _encode_windows(problem, planned, rows, target, encoded)
        if window is not None and recipe.tuning is not None:
            tuned = tune_recipe(problem, family, window, recipe.tuning)
            problem = replace(problem, params=tuned.params)
        fitted = family.fit(problem, whole, window or choices or {})
        calibration = _calibrate(problem, fitted, window, choices or {})
    choose_scores = None
    if fitted.choose_margins is not None and window is not None:
        choose_scores = target.score(calibration.apply(fitted.choose_margins))
    model = pack_model(encoder, fitted, calibration, target)
    verify_model(model, rows.whole.slice(0, PARITY_ROWS), target.score(calibration.apply(fitted.margins)))
    if recipe.params.get("quantization") == "int8":
        model = pack_model(encoder, fitted, calibration, target, is_quantized=True)
    made = {**fitted.choices, **calibration.to_choices()}
    baseline = _baseline(task, target.classes, labels, _weights(rows.whole))
    seconds = time.monotonic() - started
    return Candidate(model, made, choose_scores, baseline, seconds, problem.params, tuned, fitted.facts)


def _encode_windows(
    problem: Problem, planned: PlannedCandidate, rows: TrainingRows, target: Target, folder: Path
) -> Choosing:
    """Encode the older part of the window, and its youngest by the same encoder: it must not have seen the latter."""
    encoder = _fit_encoder(rows.fit, planned, problem)
    fit = _matrix(encoder, rows.fit, target, folder / "fit.npy")
    # the choose window is not evened out: calibrated on it, scores speak of classes as frequent as they are
    return Choosing(_weigh(problem, fit), _matrix(encoder, rows.choose, target, folder / "choose.npy"))


def _calibrate(problem: Problem, fitted: Fitted, window: Choosing | None, choices: Choices) -> Calibration:
    """Fit the calibration on the choose window; a frozen recipe keeps the one that was chosen."""
    if window is None or fitted.choose_margins is None:
        return Calibration.from_choices(choices)
    return Calibration.fit(problem, fitted.choose_margins, window.choose)


def pack_model(
    encoder: Encoder, fitted: Fitted, calibration: Calibration, target: Target, *, is_quantized: bool = False
) -> bytes:
    """Join encoder, model, calibration and score into one ONNX graph; its one output is `score`, float32."""
    graph = Graph(is_quantized=is_quantized)
    margins = calibration.add_to(graph, fitted.add_head(graph, encoder.add_to(graph)))
    return graph.to_bytes(target.add_to(graph, margins), target.classes)


def verify_model(model: bytes, table: pa.Table, expected: Floats) -> None:
    """Hold an artifact against the scores of the model it was made from.

    Raises:
        ArtifactMismatchError: they differ by more than 1e-5, relative where scores or their spread exceed 1.
    """
    found = score_table(model, table)
    scale = np.maximum(max(1.0, float(np.std(expected))), np.abs(expected))
    difference = float(np.max(np.abs(found - expected) / scale, initial=0.0))
    # negated, so that a NaN does not pass
    if not difference <= PARITY_TOLERANCE:
        raise ArtifactMismatchError(
            f"the ONNX artifact differs from the trained model by {difference:.2e} on {len(expected)} rows, "
            f"allowed {PARITY_TOLERANCE:.0e}"
        )


def _fit_encoder(table: pa.Table, planned: PlannedCandidate, problem: Problem) -> Encoder:
    is_scaled = planned.recipe.family != "gradient_boosting"
    least = int(problem.number("min_count", 20))
    return fit_encoder(table, planned.numeric, planned.categorical, min_count=least, is_scaled=is_scaled)


def _labels(table: pa.Table) -> Floats:
    return np.asarray(table.column(LABEL).to_numpy(), np.float64)


def _weights(table: pa.Table) -> Floats:
    weights = np.asarray(table.column(WEIGHT).to_numpy(), np.float64)
    # of mean 1, so that a penalty means the same with and without a half-life
    return np.asarray(weights / weights.mean())


def _matrix(encoder: Encoder, table: pa.Table, target: Target, path: Path) -> Matrix:
    features, targets = encoder.transform_into(path, table), target.transform(_labels(table))
    return Matrix(encoder.layout, features, targets, _weights(table))


def _weigh(problem: Problem, matrix: Matrix) -> Matrix:
    """Return the rows with the weight of each class evened out, where the recipe asks for it."""
    if problem.task == "regression" or problem.params.get("class_weight") != "balanced":
        return matrix
    classes = matrix.targets.astype(int)
    totals = np.bincount(classes, matrix.weights)
    weights = matrix.weights * (matrix.weights.sum() / np.count_nonzero(totals) / totals[classes])
    return replace(matrix, weights=weights)


def _baseline(task: Task, classes: int, labels: Floats, weights: Floats) -> tuple[float, ...]:
    if task == "multiclass":
        return tuple(float(np.average(labels == place, weights=weights)) for place in range(classes))
    return (float(np.average(labels, weights=weights)),)
