"""What moves a model's scores: SHAP values of its artifact, summed up so that no row of a person is kept.

Lundberg and Lee 2017, "A Unified Approach to Interpreting Model Predictions", estimated by antithetic permutations
(Mitchell et al. 2022, "Sampling Permutations for Shapley Value Estimation"): the values of a row add up to its score.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nightloop.artifact import load_scorer
from nightloop.evaluation.metrics import Floats

_EXPLAINED_ROWS, _BACKGROUND_ROWS = 300, 25
_LEAST_ROWS = 5
_POINTS = 10
_BAND = (0.1, 0.9)
_SHOWN_COLUMNS, _DRIVERS = 6, 3


@dataclass(frozen=True)
class ShapValues:
    """SHAP values [N, columns] of the rows of a table, in units of the score; with `base` they add up to a row's score.

    Of a model of many classes they are those of the class with the highest mean score.
    """

    rows: pa.Table
    columns: tuple[str, ...]
    values: Floats
    base: float


@dataclass(frozen=True, slots=True)
class DependencePoint:
    """Rows with nearly the same value of a column, and what the column does to their scores: mean and 80 % band."""

    at: float | str
    rows: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class GroupDrivers:
    """The columns that set a group's scores apart from the others', strongest first, and by how much."""

    attribute: str
    group: str
    rows: int
    drivers: Mapping[str, float]


@dataclass(frozen=True)
class Explanation:
    """What moves the scores of one model, from the most important column to the least.

    `importance` is the mean absolute SHAP value of a column, in units of the score; `dependence` is of the first six.
    """

    rows: int
    base: float
    importance: Mapping[str, float]
    dependence: Mapping[str, Sequence[DependencePoint]]
    drivers: Sequence[GroupDrivers]


def explain_model(
    model: bytes, table: pa.Table, columns: Sequence[str], groups: Iterable[tuple[str, str, NDArray[np.bool_]]] = ()
) -> Explanation:
    """Explain a model on a sample of the rows of a table; `groups` are attribute, group and mask [N] over the table."""
    order = np.random.default_rng(0).permutation(table.num_rows)
    explained, background = np.sort(order[:_EXPLAINED_ROWS]), order[-_BACKGROUND_ROWS:]
    found = compute_shap_values(model, table.take(explained), table.take(background), columns)
    sizes = np.abs(found.values).mean(axis=0)
    ordered = [columns[place] for place in np.argsort(-sizes, kind="stable")]
    return Explanation(
        len(explained),
        found.base,
        {name: float(sizes[columns.index(name)]) for name in ordered},
        {name: _dependence(found, name) for name in ordered[:_SHOWN_COLUMNS]},
        list(_list_drivers(found, ((attribute, group, mask[explained]) for attribute, group, mask in groups))),
    )


def compute_shap_values(model: bytes, rows: pa.Table, background: pa.Table, columns: Sequence[str]) -> ShapValues:
    """Return the SHAP values of rows against those of a background, from which a column that is left out is drawn.

    SHAP mixes numbers only, so it is given places: row i is the number i in every column, a mixed row names for every
    column the row that its value comes from.
    """
    os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # compiling takes longer than all that is computed here
    import shap

    values = pa.concat_tables([rows.select(columns), background.select(columns)]).combine_chunks()
    places = np.repeat(np.arange(values.num_rows, dtype=np.float64)[:, None], len(columns), axis=1)
    score = load_scorer(model)
    told = score(values)
    likeliest = None if told.ndim == 1 else int(told.mean(axis=0).argmax())

    def score_mixed(mixed: Floats) -> Floats:
        picks = mixed.astype(np.int64).T
        scores = score(pa.table([values.column(name).take(pick) for name, pick in zip(columns, picks, strict=True)],
                                names=list(columns)))  # fmt: skip
        return scores if likeliest is None else np.asarray(scores[:, likeliest])

    masker = shap.maskers.Independent(places[rows.num_rows :], max_samples=background.num_rows)
    explainer = shap.PermutationExplainer(score_mixed, masker, seed=0)
    # the least that SHAP takes: one permutation, there and back
    found = explainer(places[: rows.num_rows], max_evals=2 * len(columns) + 1, silent=True)
    return ShapValues(rows, tuple(columns), np.asarray(found.values), float(np.mean(found.base_values)))


def _dependence(found: ShapValues, name: str) -> list[DependencePoint]:
    column, effects = found.rows.column(name), found.values[:, found.columns.index(name)]
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    points = _categories if is_text or pa.types.is_dictionary(column.type) else _bins
    return [
        DependencePoint(at, len(rows), float(effects[rows].mean()), *map(float, np.quantile(effects[rows], _BAND)))
        for at, rows in points(column)
        if len(rows) >= _LEAST_ROWS
    ]


def _categories(column: pa.ChunkedArray) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield the most frequent categories with the places of their rows."""
    texts = pc.fill_null(column.cast(pa.string()), "")
    for entry in sorted(texts.value_counts().to_pylist(), key=lambda one: (-one["counts"], one["values"]))[:_POINTS]:
        yield entry["values"] or "missing", np.flatnonzero(pc.equal(texts, entry["values"]).to_numpy())


def _bins(column: pa.ChunkedArray) -> Iterator[tuple[float, NDArray[np.int64]]]:
    """Yield bins of about as many rows each; equal numbers lie in one bin."""
    numbers = np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)
    known = np.flatnonzero(np.isfinite(numbers))
    distinct = np.unique(numbers[known])
    edges = distinct if len(distinct) <= _POINTS else np.quantile(numbers[known], np.arange(1, _POINTS) / _POINTS)
    bins = np.searchsorted(edges, numbers[known], side="left")
    for number in np.unique(bins):
        rows = known[bins == number]
        yield float(np.median(numbers[rows])), rows


def _list_drivers(found: ShapValues, groups: Iterable[tuple[str, str, NDArray[np.bool_]]]) -> Iterator[GroupDrivers]:
    for attribute, group, mask in groups:
        if min(mask.sum(), (~mask).sum()) < _LEAST_ROWS:
            continue
        apart = found.values[mask].mean(axis=0) - found.values[~mask].mean(axis=0)
        strongest = np.argsort(-np.abs(apart), kind="stable")[:_DRIVERS]
        drivers = {found.columns[place]: float(apart[place]) for place in strongest}
        yield GroupDrivers(attribute, group, int(mask.sum()), drivers)
