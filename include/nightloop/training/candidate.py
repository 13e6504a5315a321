"""Fit one recipe on training rows and pack it, with its encoder, as one verified ONNX artifact."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nightloop.training.dataset import LABEL, WEIGHT, TrainingRows
from nightloop.training.encoder import Encoder, fit_encoder
from nightloop.training.gradient_boosting import fit_gradient_boosting
from nightloop.training.graph import Graph
from nightloop.training.linear import fit_linear
from nightloop.training.params import Recipe, Task, TrainingParams
from nightloop.training.problem import PARITY_ROWS, Choices, Choosing, Family, Fitted, Matrix, Problem
from nightloop.training.tabular_net import fit_tabular_net
from nightloop.training.target import Target

Floats = NDArray[np.float64]

PARITY_TOLERANCE = 1e-5

FAMILIES: Mapping[str, Family] = {
    "tabular_net": fit_tabular_net,
    "gradient_boosting": fit_gradient_boosting,
    "linear": fit_linear,
}


class ArtifactMismatchError(Exception):
    """The ONNX artifact does not score as the trained model does; it is not saved."""


@dataclass(frozen=True)
class Candidate:
    """A fitted recipe: its artifact, what was chosen on the choose window, and the scores made there.

    `baseline` is what a model without features would say: the weighted mean label, or class shares.
    """

    model: bytes
    choices: Choices
    choose_scores: Floats | None
    baseline: tuple[float, ...]
    seconds: float
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def epochs(self) -> list[dict[str, float]]:
        """Losses per epoch of the fit that chose, for a log."""
        curve = self.facts.get("curve") or self.facts.get("final_curve") or []
        return [{"loss": trained, "choose_loss": judged} for trained, judged in curve]

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.model).hexdigest()


def fit_candidate(
    rows: TrainingRows,
    numeric: Sequence[str],
    categorical: Sequence[str],
    recipe: Recipe,
    work: Path,
    task: Task,
    params: TrainingParams,
    choices: Choices | None = None,
) -> Candidate:
    """Fit a recipe on everything known at the cut of `rows`.

    Without `choices` they are made first, by a fit on the older part of the window and a look at its youngest part;
    with them the recipe is frozen. The artifact takes raw feature columns and is held against the trained model.

    Raises:
        ArtifactMismatchError: the artifact's scores differ from the model's by more than 1e-5 of the scores' scale.
        TrainingError: a rank of a distributed training failed.
    """
    started = time.monotonic()
    labels = rows.whole.column(LABEL).to_numpy().astype(np.float64)
    target = Target.fit(task, labels, recipe.params)
    problem = Problem(
        task,
        target.classes,
        recipe.params,
        params.seed,
        work,
        params.ranks,
        params.budget_minutes * 60,
        params.accelerator,
    )
    is_scaled = recipe.family != "gradient_boosting"
    least = int(problem.number("min_count", 20))

    def encode(source: pa.Table) -> Encoder:
        return fit_encoder(source, numeric, categorical, min_count=least, is_scaled=is_scaled)

    encoder = encode(rows.whole)
    whole = _matrix(encoder, rows.whole, target)
    choosing: Choosing | Choices
    if choices is None:
        narrow = encode(rows.fit)
        choosing = Choosing(_matrix(narrow, rows.fit, target), _matrix(narrow, rows.choose, target))
    else:
        choosing = choices
    fitted = FAMILIES[recipe.family](problem, whole, choosing)
    model = pack_model(encoder, fitted, target)
    verify_model(model, rows.whole.slice(0, PARITY_ROWS), target.score(fitted.margins))
    choose_scores = None if fitted.choose_margins is None else target.score(fitted.choose_margins)
    baseline = _baseline(task, target.classes, labels, whole.weights)
    return Candidate(model, fitted.choices, choose_scores, baseline, time.monotonic() - started, fitted.facts)


def pack_model(encoder: Encoder, fitted: Fitted, target: Target) -> bytes:
    """Join encoder, model and score into one ONNX graph; its one output is `score`, float32."""
    graph = Graph()
    margins = fitted.add_head(graph, encoder.add_to(graph))
    return graph.to_bytes(target.add_to(graph, margins), target.classes)


def verify_model(model: bytes, table: pa.Table, expected: Floats) -> None:
    """Hold an artifact against the scores of the model it was made from.

    Raises:
        ArtifactMismatchError: they differ by more than 1e-5, relative where scores or their spread exceed 1.
    """
    found = run_model(model, table)
    scale = np.maximum(max(1.0, float(np.std(expected))), np.abs(expected))
    difference = float(np.max(np.abs(found - expected) / scale, initial=0.0))
    if not difference <= PARITY_TOLERANCE:
        raise ArtifactMismatchError(
            f"the ONNX artifact differs from the trained model by {difference:.2e} on {len(expected)} rows, "
            f"allowed {PARITY_TOLERANCE:.0e}"
        )


def run_model(model: bytes, table: pa.Table) -> NDArray[np.float32]:
    """Score a table of raw feature columns with an artifact."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # idle threads of its pool spin
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed: dict[str, NDArray[Any]] = {}
    for entry in session.get_inputs():
        column = table.column(entry.name)
        if entry.type == "tensor(string)":
            values = column.cast(pa.string()).fill_null("").to_numpy().astype(object)
        else:
            with np.errstate(over="ignore"):
                values = column.cast(pa.float64()).to_numpy().astype(np.float32)
        feed[entry.name] = values.reshape(-1, 1)
    return np.asarray(session.run(["score"], feed)[0])


def _matrix(encoder: Encoder, table: pa.Table, target: Target) -> Matrix:
    labels = table.column(LABEL).to_numpy().astype(np.float64)
    weights = table.column(WEIGHT).to_numpy().astype(np.float64)
    return Matrix(encoder.layout, encoder.transform(table), target.transform(labels), weights / weights.mean())


def _baseline(task: Task, classes: int, labels: Floats, weights: Floats) -> tuple[float, ...]:
    if task == "multiclass":
        return tuple(float(np.average(labels == place, weights=weights)) for place in range(classes))
    return (float(np.average(labels, weights=weights)),)
