"""`tabular_net`: the network that Horovod trains, and its ONNX form written from the weights."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nightloop.training.encoder import Layout
from nightloop.training.graph import Graph
from nightloop.training.launch import run_ranks
from nightloop.training.linear import add_code, add_slice
from nightloop.training.net_shape import FloatArray, NetShape, find_bins
from nightloop.training.params import SearchRange, Space
from nightloop.training.problem import (
    PARITY_ROWS,
    SPEED,
    Choices,
    Choosing,
    Chosen,
    Fitted,
    Matrix,
    Problem,
    digest_work,
)

SPACE: Space = {
    "learning_rate": SearchRange(low=1e-3, high=2e-2, log=True),
    "weight_decay": SearchRange(low=1e-4, high=1e-1, log=True),
    "dropout": SearchRange(low=0.0, high=0.4),
    "width": (64, 128, 256),
    "blocks": SearchRange(low=1, high=3),
}

_BIN_ROWS = 100_000
_FACTS = ("curve", "final_curve", "ranks", *SPEED)


def choose_tabular_net(problem: Problem, choosing: Choosing) -> Chosen:
    """Train under Horovod on the older part of the window, and stop early on its youngest part."""
    outcome = _train(problem, {"fit": choosing.fit, "choose": choosing.choose}, None)
    return Chosen({"epochs": outcome["epochs"]}, np.load(problem.work / "choose_margins.npy", allow_pickle=False))


def fit_tabular_net(problem: Problem, whole: Matrix, choosing: Choosing | Choices) -> Fitted:
    """Train under Horovod; early stopping on the choose window sets the epochs of the fit on the whole window.

    Parameters: `width`, `blocks`, `members`, `number_width`, `bins`, `dropout`, `learning_rate`, `weight_decay`,
    `batch_rows`, `epochs` (at most), `patience`, `average_epochs` (length of the exponential average of the weights, in
    epochs), `focal_gamma` (0: plain log loss), `quantization` (`int8`: how the artifact stores the weights).
    """
    if isinstance(choosing, Choosing):
        outcome = _train(problem, {"whole": whole, "fit": choosing.fit, "choose": choosing.choose}, None)
    else:
        outcome = _train(problem, {"whole": whole}, int(choosing["epochs"]))
    with np.load(problem.work / "weights.npz", allow_pickle=False) as stored:
        weights = {name: stored[name] for name in stored.files}
    facts = {key: outcome[key] for key in _FACTS if key in outcome}
    return Fitted(
        _Head(
            _shape(problem, whole.layout), np.load(problem.work / "whole_bins.npy", allow_pickle=False), weights
        ).add_to,
        np.load(problem.work / "margins.npy", allow_pickle=False),
        {"epochs": outcome["epochs"]},
        np.load(problem.work / "choose_margins.npy", allow_pickle=False) if isinstance(choosing, Choosing) else None,
        facts,
    )


def _train(problem: Problem, windows: Mapping[str, Matrix], epochs: int | None) -> dict[str, Any]:
    """Run the ranks over these windows and return what they tell; without epochs the choose window sets them."""
    # one batch size for all windows: the epochs that one stage chooses are run by the next
    spec = _specification(problem, max(matrix.rows for matrix in windows.values()))
    spec["epochs"] = epochs
    spec["shapes"] = {name: _shape(problem, matrix.layout).to_dict() for name, matrix in windows.items()}
    _lay_out(problem.work, spec, windows)
    run_ranks(problem.work, problem.ranks, problem.budget_seconds)
    outcome: dict[str, Any] = json.loads((problem.work / "outcome.json").read_text())
    return outcome


def _specification(problem: Problem, rows: int) -> dict[str, Any]:
    batch = int(np.clip(2 ** round(np.log2(max(1, rows / 100))), 128, 2048))
    return {
        "task": problem.task,
        "seed": problem.seed,
        "accelerator": problem.accelerator,
        "parity_rows": PARITY_ROWS,
        "learning_rate": problem.number("learning_rate", 5e-3),
        "weight_decay": problem.number("weight_decay", 1e-2),
        "dropout": problem.number("dropout", 0.1),
        "focal_gamma": problem.number("focal_gamma", 0.0),
        "bins": int(problem.number("bins", 32)),
        "batch_rows": int(problem.number("batch_rows", batch)),
        "max_epochs": int(problem.number("epochs", 40)),
        "patience": int(problem.number("patience", 5)),
        "average_epochs": problem.number("average_epochs", 1.0),
    }


def _shape(problem: Problem, layout: Layout) -> NetShape:
    return NetShape(
        numbers=layout.numbers,
        cardinalities=layout.cardinalities,
        outputs=problem.classes if problem.task == "multiclass" else 1,
        width=int(problem.number("width", 128)),
        blocks=int(problem.number("blocks", 2)),
        members=int(problem.number("members", 16)),
        number_width=int(problem.number("number_width", 8)),
    )


def _lay_out(work: Path, spec: dict[str, Any], windows: Mapping[str, Matrix]) -> None:
    """Write the specification and the arrays; checkpoints of the very same training stay, all else goes."""
    spec["digest"] = digest_work(json.dumps(spec, sort_keys=True), windows.values())
    target = work / "spec.json"
    if target.exists() and json.loads(target.read_text()).get("digest") != spec["digest"]:
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    for name, matrix in windows.items():
        write_rows(work, name, matrix)
        # rows are in order of time: bins of the first ones alone might not suit the last
        seen = slice(None, None, max(1, matrix.rows // _BIN_ROWS))
        numbers, is_regression = matrix.features[seen, : matrix.layout.numbers], spec["task"] == "regression"
        bins = find_bins(numbers, matrix.targets[seen], spec["bins"], is_regression=is_regression)
        np.save(work / f"{name}_bins.npy", bins, allow_pickle=False)
    target.write_text(json.dumps(spec, sort_keys=True))


def write_rows(work: Path, name: str, matrix: Matrix) -> None:
    """Write the rows of a window as files that every rank maps."""
    for part in ("features", "targets", "weights"):
        array = getattr(matrix, part).astype(np.float32, copy=False)
        np.save(work / f"{name}_{part}.npy", array, allow_pickle=False)


class _Head:
    """The network as graph nodes, from its weights by the names that `net.TabularNet` gives them.

    Its members follow one another, so that a large batch needs the memory of one.
    """

    def __init__(self, shape: NetShape, bins: FloatArray, weights: Mapping[str, FloatArray]) -> None:
        self.shape, self.bins, self.weights = shape, bins, weights

    def add_to(self, graph: Graph, matrix: str) -> str:
        embedded = self._embed(graph, matrix)
        layers = [self._linear(graph, f"layers.{place}") for place in range(1, self.shape.blocks)]
        margins = [self._add_member(graph, embedded, layers, member) for member in range(self.shape.members)]
        weight, bias = self._linear(graph, "direct")
        return graph.add("Add", graph.add("Mean", *margins), graph.add("Gemm", embedded, weight, bias, transB=1))

    def _embed(self, graph: Graph, matrix: str) -> str:
        numbers = self.shape.numbers
        parts = [self._embed_numbers(graph, matrix)] if numbers else []
        for place in range(len(self.shape.cardinalities)):
            table = graph.weights(self.weights[f"embeddings.{place}.weight"])
            parts.append(graph.add("Gather", table, add_code(graph, matrix, numbers + place)))
        return graph.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]

    def _embed_numbers(self, graph: Graph, matrix: str) -> str:
        column = graph.add("Unsqueeze", add_slice(graph, matrix, 0, self.shape.numbers), graph.constant([2]))
        lefts, slopes = (graph.constant(part) for part in self.bins)
        places = graph.add("Mul", graph.add("Sub", column, lefts), slopes)
        places = graph.add("Clip", places, graph.constant(0.0), graph.constant(1.0))
        known = graph.add("Transpose", graph.add("Concat", places, column, axis=2), perm=[1, 0, 2])
        embedded = graph.add("MatMul", known, graph.weights(self.weights["number_weights"]))
        flat = graph.constant([-1, self.shape.numbers * self.shape.number_width])
        return graph.add("Reshape", graph.add("Transpose", embedded, perm=[1, 0, 2]), flat)

    def _linear(self, graph: Graph, name: str) -> tuple[str, str]:
        return graph.weights(self.weights[f"{name}.weight"]), graph.constant(self.weights[f"{name}.bias"])

    def _add_member(self, graph: Graph, embedded: str, layers: Sequence[tuple[str, str]], member: int) -> str:
        entry = self.weights["layers.0.weight"] * self.weights["scalings"][member]
        first = graph.weights(entry), graph.constant(self.weights["layers.0.bias"])
        hidden = embedded
        for weight, bias in (first, *layers):
            hidden = graph.add("Relu", graph.add("Gemm", hidden, weight, bias, transB=1))
        return graph.add("MatMul", hidden, graph.weights(self.weights["heads"][member]))
