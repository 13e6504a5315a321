"""Small groups of columns that tell classes apart together though none does alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Self

import numpy as np
import pyarrow as pa

from nightloop.leakage.figure import Figure
from nightloop.leakage.levels import FOLDS, Codes, Floats, LabelledSample, read_number, sum_by
from nightloop.leakage.single import levels_auc, score_bins

TOGETHER = "together nearly determine the label"
_ROWS_PER_SIDE = 1_000
_GRID_ROWS = 20_000
_GRID_BINS = 16
_MOST_CLASSES = 3
_MOST_COLUMNS = 4
_BEAM = 20
_SLACK = 0.03  # what the few rows of a screen may miss of an AUC
_LEAST_POSITIVE = 0.9
_HALF = 0.5
_TINY = 1e-300
_LEAST_ROWS = 100
_PLAIN_COLUMNS = 100


@dataclass(frozen=True)
class _Combination:
    """A sum of columns with signs; `looseness` is its spread within one class over the largest of its columns'."""

    signs: Mapping[int, int]
    auc: float = _HALF
    looseness: float = 1.0

    @property
    def group(self) -> frozenset[int]:
        return frozenset(self.signs)


@dataclass(frozen=True)
class _Screen:
    """A balanced few of the rows, on which combinations are sought: values [rows, columns], 0/1 [rows]."""

    matrix: Floats
    hits: Floats
    spreads: Floats

    @classmethod
    def take(cls, columns: Sequence[Floats], of: Floats, rows: int) -> Self:
        places = _balance(of, rows)
        matrix, hits = np.column_stack([column[places] for column in columns]), of[places]
        return cls(matrix, hits, _spread(matrix, hits))

    def extend(self, start: _Combination, *, is_ordered: bool) -> list[_Combination]:
        """Return the combination with one more column, added or subtracted; `is_ordered` leaves out earlier columns."""
        after = max(start.signs) if is_ordered else -1
        places = [place for place in range(self.matrix.shape[1]) if place > after and place not in start.signs]
        base = np.sum([sign * self.matrix[:, place] for place, sign in start.signs.items()], axis=0)
        widest = np.maximum(max(self.spreads[place] for place in start.signs), self.spreads[places])
        grown = []
        for sign in (1, -1):
            sums = base[:, None] + sign * self.matrix[:, places]
            figures = _aucs(sums, self.hits), _spread(sums, self.hits) / np.maximum(widest, _TINY)
            grown += [
                _Combination({**start.signs, place: sign}, auc, loose)
                for place, auc, loose in zip(places, *figures, strict=True)
            ]
        return grown


def measure_groups(sample: LabelledSample, limit: float, skipped: Sequence[str] = ()) -> list[Figure]:
    """Return groups of two to four columns whose ROC AUC reaches the limit, none that holds a smaller one.

    Sought are sums and differences (`funded - repaid`), ratios and products of two, and any pattern of two columns that
    a 16 by 16 grid shows. `skipped` columns, which reach it alone or are allowed to, take no part. Classes with less
    than 100 rows on either side are left out: the best of thousands of groups would be chance.
    """
    found: dict[frozenset[str], Figure] = {}
    names = [column.name for column in sample.columns if column.name not in skipped]
    numeric = {column.name: np.nan_to_num(column.values) for column in sample.columns
               if column.values is not None and column.name in names and column.levels > 1}  # fmt: skip
    logs = {name: np.log(np.maximum(values, values[values > 0].min())) for name, values in numeric.items()
            if (values > 0).mean() >= _LEAST_POSITIVE}  # fmt: skip
    full = [(label, of) for label, of in sample.classes.items() if _has_both_sides(of)]
    common = sorted(full, key=lambda item: -int(item[1].sum()))[:_MOST_CLASSES]
    # pairs grow with the square of the columns: fewer rows for each keep the time to that of a hundred columns
    share = min(1.0, (_PLAIN_COLUMNS / max(len(names), 1)) ** 2) / max(len(common), 1)
    for label, of in common:
        for space, size, kind in ((numeric, _MOST_COLUMNS, "sum"), (logs, 2, "product")):
            for figure in _search_sums(space, size, label, of, limit, kind, share):
                _keep(found, figure)
        for figure in _search_grids(sample, names, label, of, max(int(_GRID_ROWS * share), 20 * _LEAST_ROWS)):
            if figure.value >= limit:
                _keep(found, figure)
    return list(found.values())


def _has_both_sides(of: Floats) -> bool:
    return bool(_LEAST_ROWS <= of.sum() <= len(of) - _LEAST_ROWS)


def _keep(found: dict[frozenset[str], Figure], figure: Figure) -> None:
    mine = frozenset(figure.columns)
    if not any(other <= mine for other in found):
        found[mine] = figure


def _search_sums(
    space: Mapping[str, Floats], most: int, label: str, of: Floats, limit: float, kind: str, share: float
) -> Iterator[Figure]:
    """Grow signed sums column by column from the most telling and the tightest; yield those that reach the limit."""
    names = list(space)
    if len(names) <= 1:
        return
    screen = _Screen.take(list(space.values()), of, max(int(_ROWS_PER_SIDE * share), _LEAST_ROWS))
    beam, reached = [_Combination({place: 1}) for place in range(len(names))], set[frozenset[int]]()
    for size in range(2, most + 1):
        grown = [one for start in beam for one in screen.extend(start, is_ordered=size == 2)]  # noqa: PLR2004 - pairs
        telling = sorted(grown, key=lambda one: -one.auc)
        for one in telling:
            if one.auc < limit - _SLACK:
                break
            if not any(group <= one.group for group in reached):
                auc = _measure(one.signs, names, space, of)
                if auc >= limit:
                    reached.add(one.group)
                    written = _write(one.signs, names, kind)
                    columns = tuple(names[place] for place in one.signs)
                    yield Figure(TOGETHER, columns, auc, f"ROC AUC of class {label} by {written}")
        rest = [one for one in telling if not any(group <= one.group for group in reached)]
        # a sum that lacks a column yet may tell nothing, but is narrow already where its columns cancel out
        tight = sorted(rest, key=lambda one: one.looseness)
        beam = list({tuple(sorted(one.signs.items())): one for one in (*rest[:_BEAM], *tight[:_BEAM])}.values())


def _search_grids(sample: LabelledSample, names: Sequence[str], label: str, of: Floats, rows: int) -> Iterator[Figure]:
    """Yield the AUC of the mean label of each pair's cells, learned on the other folds."""
    places = np.linspace(0, sample.rows - 1, min(sample.rows, rows)).astype(np.int64)
    bins = {column.name: column.bins(_GRID_BINS)[places] for column in sample.columns if column.name in names}
    folds, target = sample.folds[places], of[places]
    for one, other in combinations(bins, 2):
        cells = (bins[one] * (_GRID_BINS + 1) + bins[other]) * FOLDS + folds
        auc = score_bins(cells, target, is_class=True)
        yield Figure(TOGETHER, (one, other), auc, f"ROC AUC of class {label} by a grid of both")


def _balance(of: Floats, rows: int) -> Codes:
    """Return at most so many rows of the class and as many others, in an order that has nothing to do with either."""
    sides = [np.flatnonzero(of == side) for side in (0, 1)]
    few = [side[np.linspace(0, len(side) - 1, min(len(side), rows)).astype(np.int64)] for side in sides]
    return np.random.default_rng(0).permutation(np.concatenate(few))


def _aucs(sums: Floats, hits: Floats) -> Floats:
    """AUC of each column, either way round; ties fall as the rows lie, at random."""
    rising = hits[np.argsort(sums, axis=0, kind="stable")]
    positives, negatives = hits.sum(), len(hits) - hits.sum()
    places = (rising * np.arange(len(hits))[:, None]).sum(axis=0)
    auc = (places - positives * (positives - 1) / 2) / (positives * negatives)
    return np.asarray(np.maximum(auc, 1 - auc))


def _measure(signs: Mapping[int, int], names: Sequence[str], space: Mapping[str, Floats], of: Floats) -> float:
    """The AUC on all rows, ties counted half; a difference within rounding is a tie."""
    terms = [sign * space[names[place]] for place, sign in signs.items()]
    scale = max(np.abs(term).max() for term in terms)
    column = read_number("", pa.array(np.round(np.sum(terms, axis=0) / scale, 12)))
    totals = np.bincount(column.codes)
    auc = levels_auc(totals, sum_by(column.codes, of))
    return max(auc, 1 - auc)


def _spread(sums: Floats, hits: Floats) -> Floats:
    """Interquartile range of each column within the class where it is least."""
    ranges = [np.subtract(*np.quantile(sums[hits == side], [0.75, 0.25], axis=0)) for side in (0, 1)]
    return np.asarray(np.minimum(*ranges))


def _write(signs: Mapping[int, int], names: Sequence[str], kind: str) -> str:
    plus, minus = {"sum": (" + ", " - "), "product": (" * ", " / ")}[kind]
    first, *rest = signs.items()
    return names[first[0]] + "".join((plus if sign > 0 else minus) + names[place] for place, sign in rest)
