"""Turn feature columns into one float32 matrix, in NumPy for training and as an ONNX graph for scoring.

The matrix is [numeric | missing flags | category codes]; code 0 is a missing or unknown category.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nightloop.training.dataset import take_evenly
from nightloop.training.graph import Graph

FloatMatrix = NDArray[np.float32]

_LEAST_SKEW_FOR_LOG = 2.0
_CLIP = 10.0
_MOST_ROWS = 500_000
_SLICE_ROWS = 16_384
_FLOAT, _DOUBLE = 1, 11  # ONNX's numbers of these types
_UNBOUNDED = float(np.finfo(np.float32).max)  # clips nothing: what is infinite counts as missing


@dataclass(frozen=True)
class Layout:
    """Columns of an encoded matrix: how many hold numbers, and how many codes each category column has."""

    numbers: int
    cardinalities: tuple[int, ...]

    @property
    def width(self) -> int:
        return self.numbers + len(self.cardinalities)


@dataclass(frozen=True)
class Encoder:
    """Imputation, scaling and vocabularies learned from the fit window alone.

    A number that is null, NaN or infinite (as float32) is missing: it takes the median, and columns that had missing
    numbers in the fit window carry a flag.
    """

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    medians: FloatMatrix
    logged: NDArray[np.bool_]
    means: FloatMatrix
    inverse_scales: FloatMatrix
    limit: float
    flagged: tuple[int, ...]
    vocabularies: tuple[tuple[str, ...], ...]

    @property
    def layout(self) -> Layout:
        cardinalities = tuple(len(vocabulary) + 1 for vocabulary in self.vocabularies)
        return Layout(len(self.numeric) + len(self.flagged), cardinalities)

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.numeric, *self.categorical)

    def transform(self, table: pa.Table) -> FloatMatrix:
        """Encode a table: float32 [rows, layout.width]."""
        raw = _numbers(table, self.numeric)
        is_missing = ~np.isfinite(raw)
        numbers = _log_where(np.where(is_missing, self.medians, raw), self.logged)
        with np.errstate(over="ignore"):  # what overflows is beyond the limit
            scaled = np.clip((numbers - self.means) * self.inverse_scales, -self.limit, self.limit)
        flags = is_missing[:, list(self.flagged)].astype(np.float32)
        codes = [_codes(table, name, words) for name, words in zip(self.categorical, self.vocabularies, strict=True)]
        return np.column_stack([scaled, flags, *codes]).astype(np.float32)

    def transform_into(self, path: Path, table: pa.Table) -> FloatMatrix:
        """Encode a table slice by slice into a file, and return it mapped into memory."""
        matrix = np.lib.format.open_memmap(path, "w+", np.float32, (table.num_rows, self.layout.width))
        for start in range(0, table.num_rows, _SLICE_ROWS):
            matrix[start : start + _SLICE_ROWS] = self.transform(table.slice(start, _SLICE_ROWS))
        matrix.flush()
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))

    def add_to(self, graph: Graph) -> str:
        """Append the same encoding to a graph, one input per feature column; return the matrix's name."""
        parts = [self._add_numbers(graph)] if self.numeric else []
        for name, words in zip(self.categorical, self.vocabularies, strict=True):
            column = graph.add_input(name, "text")
            if words:
                codes = [float(code) for code in range(1, len(words) + 1)]
                parts.append(
                    graph.add(
                        "LabelEncoder",
                        column,
                        domain="ai.onnx.ml",
                        keys_strings=list(words),
                        values_floats=codes,
                        default_float=0.0,
                    )
                )
            else:
                parts.append(_add_zeros(graph, column))
        return graph.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]

    def _add_numbers(self, graph: Graph) -> str:
        columns = [graph.add_input(name, "number") for name in self.numeric]
        raw = graph.add("Concat", *columns, axis=1)
        is_missing = graph.add("Or", graph.add("IsNaN", raw), graph.add("IsInf", raw))
        numbers = graph.add("Where", is_missing, graph.constant(self.medians), raw)
        if self.logged.any():
            # in float64 as in `_log_where`, to the same bits
            size, one = (
                graph.add("Cast", value, to=_DOUBLE) for value in (graph.add("Abs", numbers), graph.constant(1.0))
            )
            magnitude = graph.add("Cast", graph.add("Log", graph.add("Add", size, one)), to=_FLOAT)
            logs = graph.add("Mul", graph.add("Sign", numbers), magnitude)
            numbers = graph.add("Where", graph.constant(self.logged), logs, numbers)
        centred = graph.add("Sub", numbers, graph.constant(self.means))
        scaled = graph.add("Mul", centred, graph.constant(self.inverse_scales))
        bounds = graph.constant(-self.limit), graph.constant(self.limit)
        clipped = graph.add("Clip", scaled, *bounds)
        if not self.flagged:
            return clipped
        flags = graph.add("Cast", graph.add("Gather", is_missing, graph.constant(self.flagged), axis=1), to=_FLOAT)
        return graph.add("Concat", clipped, flags, axis=1)


def fit_encoder(
    table: pa.Table,
    numeric: Sequence[str],
    categorical: Sequence[str],
    *,
    min_count: int = 20,
    is_scaled: bool = True,
) -> Encoder:
    """Learn an encoder from the rows of the fit window, from half a million of them where there are more.

    The table holds numbers as any numeric type or boolean, and categories as strings; a category seen less often than
    `min_count` counts as unknown. Not `is_scaled`, numbers are imputed only, so that a tree's thresholds meet exact
    values.
    """
    # a column at a time: the window may be larger than memory
    numbers = (_numbers(take_evenly(table.select([name]), _MOST_ROWS), [name])[:, 0] for name in numeric)
    scales = [_fit_scale(column, is_scaled=is_scaled) for column in numbers]
    return Encoder(
        tuple(numeric),
        tuple(categorical),
        np.array([scale.median for scale in scales], np.float32),
        np.array([scale.is_logged for scale in scales], np.bool_),
        np.array([scale.mean for scale in scales], np.float32),
        np.array([scale.inverse for scale in scales], np.float32),
        _CLIP if is_scaled else _UNBOUNDED,
        tuple(place for place, scale in enumerate(scales) if scale.has_missing),
        tuple(_vocabulary(take_evenly(table.select([name]), _MOST_ROWS), name, min_count) for name in categorical),
    )


class _Scale(NamedTuple):
    """What is learned of one numeric column."""

    median: np.float32
    has_missing: bool
    is_logged: bool = False
    mean: float = 0.0
    inverse: float = 1.0


def _fit_scale(raw: FloatMatrix, *, is_scaled: bool) -> _Scale:
    is_missing = ~np.isfinite(raw)
    known, has_missing = raw[~is_missing].astype(np.float64), bool(is_missing.any())
    median = np.float32(np.median(known) if known.size else 0.0)
    if not is_scaled:
        return _Scale(median, has_missing)
    filled = np.where(is_missing, median, raw)
    is_logged = _is_skewed(filled)
    shaped = _log_where(filled, np.array([is_logged])).astype(np.float64)
    deviation = shaped.std() if shaped.size else 0.0
    if not deviation > 1e-6 * max(1.0, np.abs(shaped).max(initial=0.0)):
        return _Scale(median, has_missing, is_logged, 0.0, 0.0)  # a constant: times 0 it must not have overflowed
    return _Scale(median, has_missing, is_logged, float(shaped.mean()), float(1.0 / deviation))


def _numbers(table: pa.Table, names: Sequence[str]) -> FloatMatrix:
    # by way of float64: Arrow refuses to cast an integer that float32 cannot hold exactly
    columns = [pc.cast(_plain(table, name), pa.float64()).to_numpy(zero_copy_only=False) for name in names]
    with np.errstate(over="ignore"):
        return np.array(columns, np.float64).reshape(len(names), table.num_rows).T.astype(np.float32)


def _plain(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name).combine_chunks()
    return pc.cast(column, pa.uint8()) if pa.types.is_boolean(column.type) else column


def _texts(table: pa.Table, name: str) -> pa.Array:
    return pc.fill_null(pc.cast(table.column(name).combine_chunks(), pa.string()), "")


def _codes(table: pa.Table, name: str, vocabulary: tuple[str, ...]) -> NDArray[np.float32]:
    places = pc.index_in(_texts(table, name), value_set=pa.array(vocabulary, pa.string()))
    return np.asarray(pc.add(pc.fill_null(places, -1), 1).to_numpy(zero_copy_only=False), np.float32)


def _vocabulary(table: pa.Table, name: str, min_count: int) -> tuple[str, ...]:
    counts = _texts(table, name).value_counts().to_pylist()
    # sorted, so that codes follow from the words alone and not from the order of the rows
    return tuple(sorted(entry["values"] for entry in counts if entry["values"] and entry["counts"] >= min_count))


def _log_where(numbers: FloatMatrix, logged: NDArray[np.bool_]) -> FloatMatrix:
    if not logged.any():
        return numbers
    # in float64: libraries differ in the last bit of a float32 logarithm, and a narrow bin makes much of that
    magnitude = np.log(np.abs(numbers).astype(np.float64) + 1.0).astype(np.float32)
    logs = np.sign(numbers) * magnitude
    return np.where(logged, logs, numbers)


def _is_skewed(column: FloatMatrix) -> bool:
    numbers = column.astype(np.float64)
    deviation = numbers.std() if numbers.size else 0.0
    if deviation == 0 or numbers.min() < 0:
        return False
    return bool(np.mean(((numbers - numbers.mean()) / deviation) ** 3) > _LEAST_SKEW_FOR_LOG)


def _add_zeros(graph: Graph, column: str) -> str:
    """A category column without any word: every row gets code 0."""
    # a LabelEncoder cannot be without words; whichever stands there, the answer is 0
    return graph.add(
        "LabelEncoder", column, domain="ai.onnx.ml", keys_strings=["\x00"], values_floats=[0.0], default_float=0.0
    )
