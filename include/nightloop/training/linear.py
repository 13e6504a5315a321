"""`linear`: logistic or ridge regression on scaled numbers and one coefficient per category."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nightloop.training.encoder import Layout
from nightloop.training.graph import Graph
from nightloop.training.params import SearchRange, Space
from nightloop.training.problem import PARITY_ROWS, Choices, Choosing, Chosen, Fitted, Matrix, Problem, mean_loss

Floats = NDArray[np.float64]

SPACE: Space = {"penalty": SearchRange(low=0.1, high=1000.0, log=True)}

_PENALTIES = (1.0, 10.0, 100.0)
_MAX_ITERATIONS = 500


def choose_linear(problem: Problem, choosing: Choosing) -> Chosen:
    """Take the L2 penalty that does best on the choose window.

    `penalty` of the recipe fixes it; it weighs half the squared coefficients against the summed loss.
    """
    fixed = problem.params.get("penalty")
    penalties = _PENALTIES if fixed is None else (float(fixed),)
    trials = [(penalty, _margins(choosing.choose, *_fit(problem, choosing.fit, penalty))) for penalty in penalties]
    penalty, margins = min(trials, key=lambda trial: mean_loss(problem, trial[1], choosing.choose))
    return Chosen({"penalty": penalty}, margins)


def fit_linear(problem: Problem, whole: Matrix, choosing: Choosing | Choices) -> Fitted:
    """Fit on the whole window."""
    choices, choose_margins = choose_linear(problem, choosing) if isinstance(choosing, Choosing) else (choosing, None)
    penalty = choices["penalty"]
    weights, bias = _fit(problem, whole, penalty)
    head = _Head(whole.layout, weights, bias)
    return Fitted(head.add_to, _margins(whole.first(PARITY_ROWS), weights, bias), {"penalty": penalty}, choose_margins)


def _fit(problem: Problem, matrix: Matrix, penalty: float) -> tuple[Floats, Floats]:
    """Return coefficients [columns, outputs] and biases [outputs]."""
    from sklearn.linear_model import LogisticRegression, Ridge

    if problem.task == "regression":
        ridge = Ridge(alpha=penalty, solver="sparse_cg", tol=1e-6).fit(_expand(matrix), matrix.targets, matrix.weights)
        return ridge.coef_.reshape(-1, 1), np.atleast_1d(ridge.intercept_)
    model = LogisticRegression(C=1.0 / penalty, max_iter=_MAX_ITERATIONS)
    model.fit(_expand(matrix), matrix.targets.astype(int), matrix.weights)
    return model.coef_.T, model.intercept_


def _expand(matrix: Matrix) -> sparse.csr_matrix:
    """Numbers as they are, codes as one-hot columns."""
    numbers = matrix.layout.numbers
    rows = np.arange(matrix.rows)
    blocks = [sparse.csr_matrix(matrix.features[:, :numbers].astype(np.float64))]
    for place, cardinality in enumerate(matrix.layout.cardinalities):
        codes = matrix.features[:, numbers + place].astype(int)
        blocks.append(sparse.csr_matrix((np.ones(matrix.rows), (rows, codes)), (matrix.rows, cardinality)))
    return sparse.hstack(blocks, format="csr")


def _margins(matrix: Matrix, weights: Floats, bias: Floats) -> Floats:
    return np.asarray(_expand(matrix) @ weights + bias)


class _Head:
    """The fitted coefficients as graph nodes: one product, and one table per category column."""

    def __init__(self, layout: Layout, weights: Floats, bias: Floats) -> None:
        self.layout, self.weights, self.bias = layout, weights, bias

    def add_to(self, graph: Graph, matrix: str) -> str:
        numbers = self.layout.numbers
        part = add_slice(graph, matrix, 0, numbers)
        total = graph.add(
            "Add", graph.add("MatMul", part, graph.constant(self.weights[:numbers])), graph.constant(self.bias)
        )
        start = numbers
        for place, cardinality in enumerate(self.layout.cardinalities):
            table = graph.constant(self.weights[start : start + cardinality])
            total = graph.add("Add", total, graph.add("Gather", table, add_code(graph, matrix, numbers + place)))
            start += cardinality
        return total


def add_slice(graph: Graph, matrix: str, start: int, stop: int) -> str:
    """Columns [start, stop) of a matrix."""
    return graph.add("Slice", matrix, *(graph.constant([value]) for value in (start, stop, 1)))


def add_code(graph: Graph, matrix: str, column: int) -> str:
    """One column of codes as int64 [N]."""
    return graph.add("Cast", graph.add("Gather", matrix, graph.constant(column), axis=1), to=7)
