"""What every family of models is given, and what it returns."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from nightloop.training.encoder import FloatMatrix, Layout
from nightloop.training.graph import Graph
from nightloop.training.params import Params, Space, Task

PARITY_ROWS = 10_000
SPEED = ("rows_per_second", "step_ms", "gpu_memory_mb")  # what a family may tell of its training, for a log

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
        return self.take(slice(rows))

    def take(self, rows: slice) -> Self:
        """Return some of the rows."""
        return replace(self, features=self.features[rows], targets=self.targets[rows], weights=self.weights[rows])


@dataclass(frozen=True)
class Problem:
    """Everything a family needs apart from rows. `classes` is 2 for binary and 1 for regression."""

    task: Task
    classes: int
    params: Params
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


class Chosen(NamedTuple):
    """What the choose window decided, and the margins [N, outputs] there of the model that never saw it."""

    choices: Choices
    margins: NDArray[np.float64]


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


@dataclass(frozen=True)
class Family:
    """One kind of models.

    `choose` fits on the older part of a window and chooses on its youngest part; `fit` fits on the whole window, with
    the choices made on its cut, or frozen as given. `space` is where a search looks that names none.
    """

    choose: Callable[[Problem, Choosing], Chosen]
    fit: Callable[[Problem, Matrix, Choosing | Choices], Fitted]
    space: Space


def digest_work(described: str, matrices: Iterable[Matrix]) -> str:
    """Return the identity of work on these very rows, by which an interrupted one is known again."""
    digest = hashlib.sha256(described.encode())
    for matrix in matrices:
        for array in (matrix.features, matrix.targets, matrix.weights):
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def row_losses(problem: Problem, margins: NDArray[np.float64], matrix: Matrix) -> NDArray[np.float64]:
    """Log loss of each row, or squared error for a regression, of margins [N, outputs]."""
    if problem.task == "regression":
        return np.asarray((margins[:, 0] - matrix.targets) ** 2)
    if problem.task == "binary":
        return np.asarray(np.logaddexp(0.0, margins[:, 0]) - matrix.targets * margins[:, 0])
    peak = margins.max(axis=1, keepdims=True)
    totals = peak[:, 0] + np.log(np.exp(margins - peak).sum(axis=1))
    return np.asarray(totals - margins[np.arange(matrix.rows), matrix.targets.astype(int)])


def mean_loss(problem: Problem, margins: NDArray[np.float64], matrix: Matrix) -> float:
    """Weighted mean of `row_losses`."""
    return float(np.average(row_losses(problem, margins, matrix), weights=matrix.weights))
