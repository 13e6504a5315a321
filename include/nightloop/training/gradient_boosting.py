"""`gradient_boosting`: scikit-learn's HistGradientBoosting, with codes as ordinals, exported tree by tree.

We write the ONNX trees ourselves: a converter rounds thresholds to the nearest float32 and so sends values that equal a
threshold to the other side; rounding them down is exact for float32 inputs.
"""

import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightloop.training.graph import Graph
from nightloop.training.params import SearchRange, Space
from nightloop.training.problem import PARITY_ROWS, Choices, Choosing, Chosen, Fitted, Matrix, Problem, row_losses

Floats = NDArray[np.float64]

SPACE: Space = {
    "learning_rate": SearchRange(low=0.02, high=0.2, log=True),
    "max_leaf_nodes": SearchRange(low=4, high=63, log=True),
    "min_samples_leaf": SearchRange(low=5, high=300, log=True),
    "l2": SearchRange(low=0.1, high=100.0, log=True),
    "max_features": SearchRange(low=0.2, high=1.0),
}

_MOST_ITERATIONS, _PATIENCE = 2_000, 20  # 400 ended boosting early on large data
_ROWS_PER_LEAF_LEAST = 20
_RARE_ROWS_PER_LEAF = 3
_RARE_ROWS_PER_SPLIT = 80
_LEAST_LEAVES, _MOST_LEAVES = 4, 31
_SLOW_RATE, _FAST_RATE = 0.05, 0.1
_STRONG_L2, _WEAK_L2 = 20.0, 5.0
_CELLS_PER_THREAD = 500_000
_TREES_PER_NODE = 32  # within a node the runtime adds in float32


def choose_gradient_boosting(problem: Problem, choosing: Choosing) -> Chosen:
    """Take the fewest iterations that do as well as the best on the choose window."""
    model = _fit(problem, choosing.fit, int(problem.number("max_iterations", _MOST_ITERATIONS)), choosing.choose)
    iterations, margins = _choose_iterations(problem, model, choosing.choose)
    return Chosen({"iterations": iterations}, margins)


def fit_gradient_boosting(problem: Problem, whole: Matrix, choosing: Choosing | Choices) -> Fitted:
    """Fit on the whole window.

    Parameters: `learning_rate`, `max_iterations`, `max_leaf_nodes`, `min_samples_leaf`, `l2`, `max_features`. Defaults
    follow the rarest class: a leaf expects three of its rows, and a tree has a leaf per eighty; where that makes small
    trees, the rate is low and the penalty high too.
    """
    choices, choose_margins = (
        choose_gradient_boosting(problem, choosing) if isinstance(choosing, Choosing) else (choosing, None)
    )
    iterations = int(choices["iterations"])
    model = _fit(problem, whole, iterations, None)
    margins = _margins(model, whole.features[:PARITY_ROWS])
    return Fitted(_Head(model).add_to, margins, {"iterations": iterations}, choose_margins)


def _choose_iterations(problem: Problem, model: Any, choose: Matrix) -> tuple[int, Floats]:
    """Return the fewest iterations whose loss is within one standard error of the least, and their margins.

    The one-standard-error rule of Breiman et al. 1984, "Classification and Regression Trees", on paired losses: where
    the choose window is small and says little, the simpler model is taken.
    """
    stages = model.staged_predict if problem.task == "regression" else model.staged_decision_function

    def walk() -> Iterator[tuple[Floats, Floats]]:
        for stage in stages(choose.features):
            margins = np.asarray(stage, np.float64).reshape(choose.rows, -1)
            yield margins, row_losses(problem, margins, choose) * choose.weights

    # walked twice and not kept: there may be 2,000 stages, each as long as the choose window
    best = min((losses for _, losses in walk()), key=np.mean)
    stages_behind = ((margins, losses - best) for margins, losses in walk())
    return next(
        (iterations, margins)
        for iterations, (margins, behind) in enumerate(stages_behind, start=1)
        if behind.mean() <= behind.std() / np.sqrt(choose.rows)
    )


def _fit(problem: Problem, matrix: Matrix, iterations: int, choose: Matrix | None) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    is_regression = problem.task == "regression"
    least, leaves = _tree_size(problem, matrix)
    is_small = leaves < _MOST_LEAVES
    make = HistGradientBoostingRegressor if is_regression else HistGradientBoostingClassifier
    model = make(
        learning_rate=problem.number("learning_rate", _SLOW_RATE if is_small else _FAST_RATE),
        max_iter=iterations,
        max_leaf_nodes=int(problem.number("max_leaf_nodes", leaves)),
        min_samples_leaf=int(problem.number("min_samples_leaf", least)),
        l2_regularization=problem.number("l2", _STRONG_L2 if is_small else _WEAK_L2),
        max_features=problem.number("max_features", 0.3),
        # never `auto`, the default: above 10,000 rows the fit of the whole window would hold out some
        early_stopping=choose is not None,
        n_iter_no_change=_PATIENCE,
        tol=0.0,
        random_state=problem.seed,
    )
    held_out = (
        {}
        if choose is None
        else {
            "X_val": choose.features,
            "y_val": choose.targets if is_regression else choose.targets.astype(int),
            "sample_weight_val": choose.weights,
        }
    )
    targets = matrix.targets if is_regression else matrix.targets.astype(int)
    # on a small matrix more threads wait, spinning, than work
    with threadpool_limits(max(1, min(os.cpu_count() or 1, matrix.features.size // _CELLS_PER_THREAD))):
        return model.fit(matrix.features, targets, sample_weight=matrix.weights, **held_out)


def _tree_size(problem: Problem, matrix: Matrix) -> tuple[int, int]:
    """Return the default least rows of a leaf and most leaves of a tree."""
    if problem.task == "regression":
        return _ROWS_PER_LEAF_LEAST, _MOST_LEAVES
    _, counts = np.unique(matrix.targets, return_counts=True)
    rare = int(counts.min())
    least = math.ceil(_RARE_ROWS_PER_LEAF * matrix.rows / rare)
    return max(_ROWS_PER_LEAF_LEAST, least), min(_MOST_LEAVES, max(_LEAST_LEAVES, rare // _RARE_ROWS_PER_SPLIT))


def _margins(model: Any, features: NDArray[np.float32]) -> NDArray[np.float64]:
    margins = model._raw_predict(features)
    return np.asarray(margins, np.float64).reshape(len(features), -1)


class _Head:
    """The fitted trees as ONNX nodes.

    Groups of trees are summed in float64, as scikit-learn does: hundreds of leaves added in float32 would cost the
    fifth digit.
    """

    def __init__(self, model: Any) -> None:
        self.base = np.asarray(model._baseline_prediction, np.float64).ravel()
        self.trees = [(output, tree.nodes) for stage in model._predictors for output, tree in enumerate(stage)]

    def add_to(self, graph: Graph, matrix: str) -> str:
        from onnx import TensorProto

        starts = range(0, len(self.trees), _TREES_PER_NODE)
        sums = [self._add_trees(graph, matrix, self.trees[start : start + _TREES_PER_NODE]) for start in starts]
        wide = [graph.add("Cast", part, to=TensorProto.DOUBLE) for part in [*sums, graph.constant(self.base)]]
        return graph.add("Cast", graph.add("Sum", *wide), to=TensorProto.FLOAT)

    def _add_trees(self, graph: Graph, matrix: str, trees: Sequence[tuple[int, Any]]) -> str:
        sizes = [len(nodes) for _, nodes in trees]
        nodes = np.concatenate([nodes for _, nodes in trees])
        tree_ids = np.repeat(np.arange(len(sizes)), sizes)
        node_ids = np.concatenate([np.arange(size) for size in sizes])
        outputs = np.repeat([output for output, _ in trees], sizes)
        is_leaf = nodes["is_leaf"].astype(bool)
        thresholds = np.where(is_leaf, 0.0, nodes["num_threshold"])
        # no node says where a missing value goes: the encoder leaves none
        return graph.add(
            "TreeEnsembleRegressor",
            matrix,
            domain="ai.onnx.ml",
            n_targets=len(self.base),
            aggregate_function="SUM",
            nodes_treeids=tree_ids.tolist(),
            nodes_nodeids=node_ids.tolist(),
            nodes_featureids=np.where(is_leaf, 0, nodes["feature_idx"]).astype(int).tolist(),
            nodes_modes=np.where(is_leaf, "LEAF", "BRANCH_LEQ").tolist(),
            nodes_values=round_down(thresholds).tolist(),
            nodes_truenodeids=np.where(is_leaf, 0, nodes["left"]).astype(int).tolist(),
            nodes_falsenodeids=np.where(is_leaf, 0, nodes["right"]).astype(int).tolist(),
            target_treeids=tree_ids[is_leaf].tolist(),
            target_nodeids=node_ids[is_leaf].tolist(),
            target_ids=outputs[is_leaf].astype(int).tolist(),
            target_weights=nodes["value"][is_leaf].astype(np.float32).tolist(),
        )


def round_down(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the greatest float32 that is not above each value: x <= value then holds for the same float32 x."""
    with np.errstate(over="ignore"):
        nearest = values.astype(np.float32)
    return np.where(nearest > values, np.nextafter(nearest, np.float32(-np.inf)), nearest)
