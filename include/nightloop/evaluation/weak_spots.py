"""Groups that nobody declared, on which a model errs most: found on half of the entities, measured on the others.

A tree over the features looks for them in the losses, as in Chung et al. 2019, "Slice Finder"; measured on rows that
the tree did not see, a group is not one of chance.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightloop.evaluation.bootstrap import Keys
from nightloop.evaluation.checks import list_groups
from nightloop.evaluation.metrics import Floats

_DEPTH = 2
_LEAST_ROWS = 100
_LEAST_SHARE = 0.05
_LEAST_EXPLAINED = 0.005  # of the losses' variance, by a split
_ERRORS_BEYOND = 2.6  # one-sided 0.5 % in each of at most four groups

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class _Column:
    """What a split looks at: the numbers of a feature, or whether its text is that of a group."""

    name: str
    values: Floats
    group: str | None = None

    def describe(self, threshold: float, *, is_above: bool) -> str:
        if self.group is None:
            return f"{self.name} {'>' if is_above else '<='} {threshold:.4g}"
        return f"{self.name} {'is' if is_above else 'is not'} {self.group}"


@dataclass(frozen=True)
class WeakSpot:
    """Where a group lies, in words, and which rows it was measured on."""

    condition: str
    rows: Mask


def find_weak_spots(features: Mapping[str, Keys], losses: Floats, entities: Keys) -> list[WeakSpot]:
    """Return the groups whose mean loss is clearly above that of the other rows, the worst first.

    `features` are columns of numbers or of texts; a missing number counts as the median. A group has at least 100 rows
    in each half, and a twentieth of the half that is searched.
    """
    from sklearn.tree import DecisionTreeRegressor

    columns = [column for name, values in features.items() for column in _columns(name, values)]
    _, number = np.unique(entities, return_inverse=True)
    searched = number % 2 == 0
    least = max(_LEAST_ROWS, int(_LEAST_SHARE * len(losses) / 2))
    if not columns or min(searched.sum(), (~searched).sum()) < 2 * least:
        return []
    matrix = np.column_stack([column.values for column in columns])
    worth = _LEAST_EXPLAINED * float(losses[searched].var())
    model = DecisionTreeRegressor(max_depth=_DEPTH, min_samples_leaf=least, min_impurity_decrease=worth, random_state=0)
    model.fit(matrix[searched], losses[searched])
    leaves = model.apply(matrix)
    found: list[tuple[float, WeakSpot]] = []
    for leaf, conditions in _walk(model.tree_, columns):
        inside, outside = ~searched & (leaves == leaf), ~searched & (leaves != leaf)
        if conditions and min(inside.sum(), outside.sum()) >= _LEAST_ROWS:
            excess = float(losses[inside].mean() - losses[outside].mean())
            error = np.sqrt(losses[inside].var() / inside.sum() + losses[outside].var() / outside.sum())
            if excess > _ERRORS_BEYOND * error:
                found.append((excess, WeakSpot(" and ".join(conditions), inside)))
    return [spot for _, spot in sorted(found, key=lambda one: -one[0])]


def _columns(name: str, values: Keys) -> Iterator[_Column]:
    if not np.issubdtype(values.dtype, np.number):
        yield from (
            _Column(name, (values == group).astype(np.float64), group) for group in list_groups(values, _LEAST_ROWS)
        )
        return
    numbers = values.astype(np.float64)
    is_known = np.isfinite(numbers)
    if is_known.any():
        yield _Column(name, np.where(is_known, numbers, np.median(numbers[is_known])))


def _walk(
    tree: Any, columns: list[_Column], node: int = 0, path: tuple[str, ...] = ()
) -> Iterator[tuple[int, list[str]]]:
    """Yield each leaf with the conditions that lead to it."""
    if tree.children_left[node] == tree.children_right[node]:
        yield node, list(path)
        return
    column, threshold = columns[tree.feature[node]], tree.threshold[node]
    for child, is_above in ((tree.children_left[node], False), (tree.children_right[node], True)):
        yield from _walk(tree, columns, child, (*path, column.describe(threshold, is_above=is_above)))
