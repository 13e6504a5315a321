"""Sizes of a `tabular_net` and the bins of its numbers; nothing here needs PyTorch."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

_LEAST_BIN_ROWS, _RARE_ROWS_PER_BIN, _LEAST_BIN_WIDTH = 32, 10, 0.02


@dataclass(frozen=True)
class NetShape:
    """Sizes of a network; `cardinalities` counts the codes of each category column, 0 included.

    `number_width` is the size of one number's embedding, `width` that of each of the `blocks` hidden layers.
    """

    numbers: int
    cardinalities: tuple[int, ...]
    outputs: int
    width: int
    blocks: int
    members: int
    number_width: int

    @property
    def input_widths(self) -> tuple[int, ...]:
        """Sizes of the embeddings, column by column."""
        return (self.number_width,) * self.numbers + tuple(map(embedding_width, self.cardinalities))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def embedding_width(cardinality: int) -> int:
    """Return the size of one column's embedding: grows slowly with its codes."""
    return int(min(16, max(2, round(cardinality**0.5))))


def find_bins(numbers: FloatArray, targets: NDArray[np.float64], bins: int, *, is_regression: bool) -> FloatArray:
    """Return left ends and inverse widths, [2, columns, bins], of bins of each column.

    A decision tree of that many leaves on the column alone says where the target changes: the target-aware bins of
    Gorishniy et al. 2022. A bin expects ten rows of the rarest class, and none is narrower than a fiftieth of a
    standard deviation, which would make much of rounding. A column that needs fewer has an inverse width of 0 in the
    rest, which so encode as 0.

    >>> numbers = np.arange(1000, dtype=np.float32).reshape(-1, 1)
    >>> lefts, inverse_widths = find_bins(numbers, (numbers[:, 0] > 499).astype(float), 3, is_regression=False)
    >>> lefts.tolist()
    [[0.0, 499.5, 0.0]]
    """
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    make = DecisionTreeRegressor if is_regression else DecisionTreeClassifier
    rare = len(targets) if is_regression else int(np.unique(targets, return_counts=True)[1].min())
    least = max(_LEAST_BIN_ROWS, math.ceil(_RARE_ROWS_PER_BIN * len(targets) / rare))
    found = np.zeros((2, numbers.shape[1], bins), np.float32)
    for place, column in enumerate(numbers.T):
        tree = make(max_leaf_nodes=bins, min_samples_leaf=least, random_state=0)
        nodes = tree.fit(column.reshape(-1, 1), targets).tree_
        splits = nodes.threshold[nodes.children_left >= 0]
        edges = _spread(np.sort([column.min(), *splits, column.max()]))
        widths = np.diff(edges)
        found[0, place, : len(widths)], found[1, place, : len(widths)] = edges[:-1], 1 / widths
    return found


def _spread(edges: NDArray[np.float64]) -> FloatArray:
    """Return ascending edges without those that lie too close behind another."""
    kept = [edges[0]]
    for edge in edges[1:]:
        if edge - kept[-1] >= _LEAST_BIN_WIDTH:
            kept.append(edge)
    return np.asarray(kept, np.float32)
