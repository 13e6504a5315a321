"""`tabular_net`: the network that Horovod trains, and its ONNX form written from the weights."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightloop.training.encoder import Layout
from nightloop.training.graph import Graph
from nightloop.training.launch import run_ranks
from nightloop.training.linear import add_code, add_slice
from nightloop.training.problem import PARITY_ROWS, Choices, Choosing, Fitted, Matrix, Problem

_NORM_EPSILON = 1e-5


def fit_tabular_net(problem: Problem, whole: Matrix, choosing: Choosing | Choices) -> Fitted:
    """Train under Horovod; early stopping on the choose window sets the epochs of the fit on the whole window.

    Parameters: `width`, `blocks`, `dropout`, `learning_rate`, `weight_decay`, `batch_rows`, `epochs` (at most),
    `patience`, `average_epochs` (length of the exponential average of the weights, in epochs).
    """
    windows = {"whole": whole}
    spec = _specification(problem, whole)
    if isinstance(choosing, Choosing):
        windows.update(fit=choosing.fit, choose=choosing.choose)
    else:
        spec["epochs"] = int(choosing["epochs"])
    spec["shapes"] = {name: _shape(problem, matrix.layout) for name, matrix in windows.items()}
    _lay_out(problem.work, spec, windows)
    run_ranks(problem.work, problem.ranks, problem.budget_seconds)
    outcome = json.loads((problem.work / "outcome.json").read_text())
    with np.load(problem.work / "weights.npz", allow_pickle=False) as stored:
        weights = {name: stored[name] for name in stored.files}
    facts = {key: outcome[key] for key in ("curve", "final_curve", "ranks", "rows_per_second") if key in outcome}
    return Fitted(
        _Head(whole.layout, weights, int(spec["shapes"]["whole"]["blocks"])).add_to,
        np.load(problem.work / "margins.npy", allow_pickle=False),
        {"epochs": outcome["epochs"]},
        np.load(problem.work / "choose_margins.npy", allow_pickle=False) if isinstance(choosing, Choosing) else None,
        facts,
    )


def _specification(problem: Problem, whole: Matrix) -> dict[str, Any]:
    batch = int(np.clip(2 ** round(np.log2(max(1, whole.rows / 100))), 128, 2048))
    return {
        "task": problem.task,
        "seed": problem.seed,
        "accelerator": problem.accelerator,
        "parity_rows": PARITY_ROWS,
        "learning_rate": problem.number("learning_rate", 3e-3),
        "weight_decay": problem.number("weight_decay", 1e-2),
        "dropout": problem.number("dropout", 0.2),
        "batch_rows": int(problem.number("batch_rows", batch)),
        "max_epochs": int(problem.number("epochs", 40)),
        "patience": int(problem.number("patience", 5)),
        "average_epochs": problem.number("average_epochs", 1.0),
    }


def _shape(problem: Problem, layout: Layout) -> dict[str, Any]:
    return {
        "numbers": layout.numbers,
        "cardinalities": layout.cardinalities,
        "outputs": problem.classes if problem.task == "multiclass" else 1,
        "width": int(problem.number("width", 96)),
        "blocks": int(problem.number("blocks", 2)),
    }


def _lay_out(work: Path, spec: dict[str, Any], windows: Mapping[str, Matrix]) -> None:
    """Write the specification and the arrays; checkpoints of the very same training stay, all else goes."""
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode())
    for matrix in windows.values():
        for array in (matrix.features, matrix.targets, matrix.weights):
            digest.update(np.ascontiguousarray(array).data)
    spec["digest"] = digest.hexdigest()
    target = work / "spec.json"
    if target.exists() and json.loads(target.read_text()).get("digest") != spec["digest"]:
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    for name, matrix in windows.items():
        for part in ("features", "targets", "weights"):
            np.save(work / f"{name}_{part}.npy", getattr(matrix, part).astype(np.float32), allow_pickle=False)
    target.write_text(json.dumps(spec, sort_keys=True))


class _Head:
    """The network as graph nodes, from its weights by the names that `net.TabularNet` gives them."""

    def __init__(self, layout: Layout, weights: Mapping[str, NDArray[np.float32]], blocks: int) -> None:
        self.layout, self.weights, self.blocks = layout, weights, blocks

    def add_to(self, graph: Graph, matrix: str) -> str:
        numbers = self.layout.numbers
        parts = [add_slice(graph, matrix, 0, numbers)]
        for place in range(len(self.layout.cardinalities)):
            table = graph.constant(self.weights[f"embeddings.{place}.weight"])
            parts.append(graph.add("Gather", table, add_code(graph, matrix, numbers + place)))
        hidden = self._linear(graph, graph.add("Concat", *parts, axis=1), "entry")
        for block in range(self.blocks):
            inner = self._linear(graph, self._norm(graph, hidden, block), f"rises.{block}")
            step = self._linear(graph, graph.add("Relu", inner), f"falls.{block}")
            hidden = graph.add("Add", hidden, step)
        return self._linear(graph, graph.add("Relu", self._norm(graph, hidden, self.blocks)), "exit")

    def _linear(self, graph: Graph, value: str, name: str) -> str:
        weight, bias = (graph.constant(self.weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return graph.add("Gemm", value, weight, bias, transB=1)

    def _norm(self, graph: Graph, value: str, place: int) -> str:
        scale, bias = (graph.constant(self.weights[f"norms.{place}.{part}"]) for part in ("weight", "bias"))
        return graph.add("LayerNormalization", value, scale, bias, axis=-1, epsilon=_NORM_EPSILON)
