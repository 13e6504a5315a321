"""What every family of models is given, and what it returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nightloop.training.encoder import FloatMatrix, Layout
from nightloop.training.graph import Graph
from nightloop.training.params import Task

PARITY_ROWS = 10_000

Choices = Mapping[str, float]


@dataclass(frozen=True)
class Matrix:
    """Encoded rows: features [N, layout.width], targets [N] in the family's own scale, weights [N]."""

    layout: Layout
    features: FloatMatrix
    targets: NDArray[np.float64]
    weights: NDArray[np.float64]

    @property
    def rows(self) -> int:
        return len(self.features)

    def first(self, rows: int) -> Self:
        """Return the first rows alone."""
        return replace(self, features=self.features[:rows], targets=self.targets[:rows], weights=self.weights[:rows])


@dataclass(frozen=True)
class Problem:
    """Everything a family needs apart from rows. `classes` is 2 for binary and 1 for regression."""

    task: Task
    classes: int
    params: Mapping[str, int | float | str | bool]
    seed: int
    work: Path
    ranks: int = 1
    budget_seconds: float = 1800.0
    accelerator: str = "auto"

    def number(self, name: str, default: float) -> float:
        return float(self.params.get(name, default))


@dataclass(frozen=True)
class Choosing:
    """The fit window cut in time: what is learned on `fit` is chosen (epochs, iterations, penalty) on `choose`."""

    fit: Matrix
    choose: Matrix


@dataclass(frozen=True)
class Fitted:
    """A model fitted on the whole window, with what was chosen on the way.

    `add_head` appends the model to a graph behind an encoder and returns its margin, float32 [N, outputs];
    `margins` are the trained model's own on the first `PARITY_ROWS` rows, to hold the graph against;
    `choose_margins` are those of the model fitted without the choose window, on the choose window.
    """

    add_head: Callable[[Graph, str], str]
    margins: NDArray[np.float64]
    choices: Choices
    choose_margins: NDArray[np.float64] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


Family = Callable[[Problem, Matrix, Choosing | Choices], Fitted]
"""Fit on the whole window, with the choices made on its cut, or frozen as given."""


def mean_loss(problem: Problem, margins: NDArray[np.float64], matrix: Matrix) -> float:
    """Weighted mean log loss, or squared error for a regression, of margins [N, outputs]."""
    if problem.task == "regression":
        losses = (margins[:, 0] - matrix.targets) ** 2
    elif problem.task == "binary":
        losses = np.logaddexp(0.0, margins[:, 0]) - matrix.targets * margins[:, 0]
    else:
        peak = margins.max(axis=1, keepdims=True)
        totals = peak[:, 0] + np.log(np.exp(margins - peak).sum(axis=1))
        losses = totals - margins[np.arange(matrix.rows), matrix.targets.astype(int)]
    return float(np.average(losses, weights=matrix.weights))
