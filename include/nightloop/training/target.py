"""Labels as models see them, and margins as scores: the one place that knows both scales."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nightloop.fault import Fault, NightloopError
from nightloop.training.graph import Graph
from nightloop.training.params import Task

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """Scale of the label. `classes` is 2 for a binary task and 1 for a regression, whose label is standardised."""

    task: Task
    classes: int
    is_logged: bool = False
    mean: float = 0.0
    scale: float = 1.0

    @classmethod
    def fit(cls, task: Task, labels: Floats, params: Mapping[str, Any]) -> Self:
        """Learn the scale from the labels of the fit window.

        Raises:
            NightloopError: labels are no class numbers, one class is missing, or a logged label is not above -1.
        """
        if task == "regression":
            is_logged = params.get("target") == "log1p"
            if is_logged and labels.min() <= -1:
                raise NightloopError(
                    Fault("label", "values above -1 for `target: log1p`", f"{labels.min()}", "drop the parameter")
                )
            shaped = np.log1p(labels) if is_logged else labels
            # labels may all be equal, and a scale of 0 would divide by it
            return cls(task, 1, is_logged, float(shaped.mean()), float(shaped.std()) or 1.0)
        found = np.unique(labels)
        classes = 2 if task == "binary" else int(found.max()) + 1
        if not np.isin(found, np.arange(classes)).all() or len(found) <= 1:
            expected = "0 and 1, both present" if task == "binary" else "class numbers 0, 1, 2, …, at least two"
            raise NightloopError(Fault("label", expected, f"{found[:10].tolist()}", "see label.sql"))
        return cls(task, classes)

    def transform(self, labels: Floats) -> Floats:
        if self.task != "regression":
            return labels
        shaped = np.log1p(labels) if self.is_logged else labels
        return (shaped - self.mean) / self.scale

    def score(self, margins: Floats) -> Floats:
        """Turn margins [N, outputs] into scores: [N], or probabilities [N, classes] for a multiclass task."""
        if self.task == "binary":
            # the logistic function, without an exponential that overflows
            return 0.5 * (1.0 + np.tanh(0.5 * margins[:, 0]))
        if self.task == "multiclass":
            powers = np.exp(margins - margins.max(axis=1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=1, keepdims=True))
        values = margins[:, 0] * self.scale + self.mean
        return np.expm1(values) if self.is_logged else values

    def add_to(self, graph: Graph, margins: str) -> str:
        """Append the same to a graph."""
        if self.task == "multiclass":
            return graph.add("Softmax", margins, axis=1)
        flat = graph.add("Reshape", margins, graph.constant([-1]))
        if self.task == "binary":
            return graph.add("Sigmoid", flat)
        scaled = graph.add("Mul", flat, graph.constant(self.scale))
        values = graph.add("Add", scaled, graph.constant(self.mean))
        if not self.is_logged:
            return values
        return graph.add("Sub", graph.add("Exp", values), graph.constant(1.0))  # ONNX has no expm1
