"""Columns and labels as integer levels, so that every figure is arithmetic on counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

FOLDS = 5
LEAST_CLASS_ROWS = 10
_BINS = 64
_MOST_CLASSES = 20
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Column:
    """One feature. `codes` rise with a number's value; `levels` is the code of a missing one.

    `values` are the numbers, NaN where missing; none for a category.
    """

    name: str
    codes: Codes
    words: "Sequence[Any] | NDArray[Any]"
    values: Floats | None = None

    @property
    def levels(self) -> int:
        return len(self.words)

    @property
    def is_missing(self) -> NDArray[np.bool_]:
        return np.asarray(self.codes == self.levels)

    def bins(self, most: int = _BINS) -> Codes:
        """Return codes of at most `most` levels beside the missing one: quantiles of a number, a category's commonest.

        Categories within the common bins stay as they are; the rest share one bin.
        """
        if self.levels <= most:
            return self.codes
        counts = np.bincount(self.codes, minlength=self.levels + 1)[: self.levels]
        if self.values is None:
            chosen = np.full(self.levels, most - 1)
            chosen[np.argsort(-counts, kind="stable")[: most - 1]] = np.arange(most - 1)
        else:
            chosen = (np.cumsum(counts) - counts / 2) * most // max(counts.sum(), 1)
        return np.append(chosen, most).astype(np.int64)[self.codes]


@dataclass(frozen=True)
class LabelledSample:
    """Columns beside their label, and the fold of each row; rows of one entity share a fold.

    `classes` are 0/1 arrays, one against the rest, by the class's name, of those with enough rows; none for a
    regression, whose `ranks` are the label's, averaged over ties.
    """

    columns: tuple[Column, ...]
    label: Floats
    folds: Codes
    classes: dict[str, Floats]
    is_regression: bool

    @property
    def rows(self) -> int:
        return len(self.label)

    @property
    def ranks(self) -> Floats:
        return rank(self.label)


def read_sample(
    table: pa.Table, task: str, numeric: Sequence[str], categorical: Sequence[str], entities: Sequence[str]
) -> LabelledSample:
    """Return a table's features beside its `label`; `entities` holds one key per row."""
    label = table.column("label").to_numpy().astype(np.float64)
    columns = [read_number(name, table.column(name)) for name in numeric]
    columns += [read_category(name, table.column(name)) for name in categorical]
    _, keys = np.unique(np.asarray(entities, dtype=object).astype(str), return_inverse=True)
    mixed = np.random.default_rng(0).permutation(int(keys.max(initial=0)) + 1) % FOLDS
    is_regression = task == "regression"
    return LabelledSample(tuple(columns), label, mixed[keys], {} if is_regression else _classes(label), is_regression)


def read_number(name: str, values: Any) -> Column:
    """Return a numeric column; what no float32 holds, NaN and infinite values, is missing, as the encoder has it."""
    array = pa.chunked_array([values]) if isinstance(values, pa.Array) else values
    numbers = pc.fill_null(array.cast(pa.float64()), float("nan")).to_numpy().astype(np.float64)
    numbers = np.where(np.abs(numbers) <= _LARGEST, numbers, np.nan)
    found = np.isfinite(numbers)
    words, codes = np.unique(numbers[found], return_inverse=True)
    every = np.full(len(numbers), len(words), dtype=np.int64)
    every[found] = codes
    return Column(name, every, words, numbers)


def read_category(name: str, values: Any) -> Column:
    """Return a categorical column; null is missing."""
    array = pa.chunked_array([values]) if isinstance(values, pa.Array) else values
    encoded = array.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks() if encoded.num_chunks != 1 else encoded.chunk(0)
    words = encoded.dictionary.to_pylist()
    codes = pc.fill_null(encoded.indices, len(words)).to_numpy().astype(np.int64)
    return Column(name, codes, words)


def read_dates(words: "Sequence[Any] | NDArray[Any]") -> Floats | None:
    """Return the instants, in seconds, of words that are all dates, ISO 8601 text among them; None if one is not."""
    try:
        return np.array([_instant(word) for word in words])
    except (AttributeError, ValueError):
        return None


def sum_by(codes: Codes, values: Floats | Codes, least: int = 0) -> Floats:
    """Return the sum of the values of each code, for at least so many codes."""
    return np.asarray(np.bincount(codes, weights=values, minlength=least), dtype=np.float64)


def rank(values: Floats) -> Floats:
    """Return ranks from 0 to 1, averaged over ties."""
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray(((np.cumsum(counts) - counts / 2) / len(values))[codes])


def _classes(label: Floats) -> dict[str, Floats]:
    """Each class that has enough rows in it and outside it; of a binary label class 1 alone."""
    found, counts = np.unique(label, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_MOST_CLASSES]
    names = [found[place] for place in sorted(order)] if len(found) > 2 else list(found[-1:])  # noqa: PLR2004 - binary
    classes = {f"{name:g}": (label == name).astype(np.float64) for name in names}
    least = LEAST_CLASS_ROWS
    return {name: of for name, of in classes.items() if least <= of.sum() <= len(label) - least}


def _instant(word: Any) -> float:
    value = datetime.fromisoformat(word) if isinstance(word, str) else word
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
