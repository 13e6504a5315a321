"""Small groups of columns whose sum or product is a regression's label."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightloop.leakage.figure import Figure
from nightloop.leakage.levels import Column, Floats, LabelledSample

SUM = "together make up the label"
_MOST_ROWS = 4_000
_ROWS_PER_COLUMN = 5
_KEPT = 0.6
_ROUNDS = 8
_EXACT = 1e-3
_MOST_COLUMNS = 8
_LARGEST_EXPONENT = 50.0
_LEAST_POSITIVE = 0.9

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class _Shape:
    """A way to write the label as a weighted sum: a transform of the label and one of the columns, none if not apt."""

    name: str
    label: Callable[[Floats], Floats | None]
    column: Callable[[Floats], Floats | None]


def measure_sums(sample: LabelledSample, skipped: Sequence[str] = ()) -> list[Figure]:
    """Return at most one group per shape: columns whose sum (or product, or the log of whose sum) is the label.

    A sum has free weights and a constant. It is sought by least trimmed squares (Rousseeuw 1984), so that rows which do
    not add up hide nothing as long as most do, then cut to columns that are all needed. The figure is the share of rows
    in which the sum differs from the label by no more than a thousandth of the label's interquartile range, of those
    that the label's commonest value does not explain. A missing number counts as zero; `skipped` columns take no part.
    """
    if not sample.is_regression or np.ptp(sample.label) == 0:
        return []
    found: list[Figure] = []
    for shape in _SHAPES:
        label = shape.label(sample.label)
        shaped = [(column.name, _apply(shape, column)) for column in sample.columns if column.name not in skipped]
        usable = [(name, values) for name, values in shaped if values is not None and np.ptp(values) > 0]
        if label is not None and usable:
            figure = _find_sum([name for name, _ in usable], np.column_stack([v for _, v in usable]), label, shape.name)
            known = {one.columns for one in found}
            found += [figure] if figure is not None and figure.columns not in known else []
    return found


def _find_sum(names: Sequence[str], values: Floats, label: Floats, shape: str) -> Figure | None:
    places = np.linspace(0, len(label) - 1, min(len(label), _MOST_ROWS)).astype(np.int64)
    # on few rows to a column any label is a sum
    if len(places) < _ROWS_PER_COLUMN * (len(names) + 1):
        return None
    # the quartiles coincide where the middle half of the labels is one value
    spread = float(np.subtract(*np.quantile(label, [0.75, 0.25]))) or float(label.std())
    # else the weights by which `_drop_idle` orders columns would depend on their units
    scaled = (values - np.median(values, axis=0)) / values.std(axis=0)
    few, wanted = scaled[places], label[places]
    weights, kept = _fit_trimmed(few, wanted)
    if not _is_exact(few[kept], wanted[kept], weights, spread):
        return None
    chosen = _drop_idle(few[kept], wanted[kept], weights, spread)
    if len(chosen) > _MOST_COLUMNS:
        return None
    weights, _ = _fit_trimmed(few[:, chosen], wanted)
    told = scaled[:, chosen] @ weights[:-1] + weights[-1]
    constant = np.unique(label, return_counts=True)[1].max() / len(label)
    share = float((np.abs(label - told) <= _EXACT * spread).mean() - constant) / (1 - constant)
    return Figure(SUM, tuple(names[place] for place in chosen), share, f"rows in which {shape} is the label")


def _fit_trimmed(values: Floats, label: Floats) -> tuple[Floats, Mask]:
    """Fit the rows that fit best, again and again; return weights, the constant last, and those rows."""
    kept: Mask = np.ones(len(label), dtype=bool)
    whole = np.column_stack([values, np.ones(len(label))])
    for _ in range(_ROUNDS):
        weights = _solve(whole[kept], label[kept])
        errors = np.abs(label - whole @ weights)
        closest = np.asarray(errors <= np.quantile(errors, _KEPT))
        if (closest == kept).all():
            break
        kept = closest
    return weights, kept


def _solve(values: Floats, label: Floats) -> Floats:
    return np.asarray(np.linalg.lstsq(values, label, rcond=None)[0], dtype=np.float64)


def _is_exact(values: Floats, label: Floats, weights: Floats, spread: float) -> bool:
    return bool((np.abs(label - values @ weights[:-1] - weights[-1]) <= _EXACT * spread).mean() >= _LEAST_POSITIVE)


def _drop_idle(values: Floats, label: Floats, weights: Floats, spread: float) -> list[int]:
    """Drop columns, lightest first, as long as the sum stays exact without them."""
    chosen = list(range(values.shape[1]))
    for place in np.argsort(np.abs(weights[:-1])):
        rest = [one for one in chosen if one != place]
        whole = np.column_stack([values[:, rest], np.ones(len(label))])
        without = _solve(whole, label)
        if rest and _is_exact(values[:, rest], label, without, spread):
            chosen = rest
    return chosen


def _apply(shape: _Shape, column: Column) -> Floats | None:
    return None if column.values is None else shape.column(np.nan_to_num(column.values))


def _same(values: Floats) -> Floats:
    return values


def _log(values: Floats) -> Floats | None:
    """Return logarithms of numbers that are nearly all positive."""
    if (values > 0).mean() < _LEAST_POSITIVE:
        return None
    return np.asarray(np.log(np.maximum(values, values[values > 0].min())))


def _exp(values: Floats) -> Floats | None:
    return np.asarray(np.exp(values)) if np.abs(values).max() < _LARGEST_EXPONENT else None


_SHAPES = (
    _Shape("their weighted sum", _same, _same),
    _Shape("their product of powers", _log, _log),
    _Shape("the logarithm of their weighted sum", _exp, _same),
)
