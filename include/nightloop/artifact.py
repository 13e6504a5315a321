"""Run a model's ONNX artifact in this process, on raw feature columns of a table in memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_SLICE_ROWS = 8_192


def open_model(model: bytes) -> Any:
    """Return an ONNX Runtime session of one thread: idle threads of its pool spin."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def score_table(model: bytes, table: pa.Table) -> NDArray[np.float64]:
    """Return the model's scores of a table, [N] or [N, classes]; scored slice by slice."""
    return load_scorer(model)(table)


def load_scorer(model: bytes) -> Callable[[pa.Table], NDArray[np.float64]]:
    """Return what scores table after table as `score_table` does, with the model opened once."""
    session = open_model(model)

    def score(table: pa.Table) -> NDArray[np.float64]:
        # at least one slice, so that without rows the answer still has the model's shape
        starts = range(0, max(1, table.num_rows), _SLICE_ROWS)
        return np.concatenate([np.asarray(_run(session, table.slice(at, _SLICE_ROWS)), np.float64) for at in starts])

    return score


def _run(session: Any, table: pa.Table) -> NDArray[np.float32]:
    feed = {
        entry.name: _column(table, entry.name, is_text=entry.type == "tensor(string)") for entry in session.get_inputs()
    }
    return np.asarray(session.run(["score"], feed)[0])


def _column(table: pa.Table, name: str, *, is_text: bool) -> NDArray[Any]:
    column = table.column(name)
    if is_text:
        # to the encoder a missing text is an empty one
        return np.asarray(column.cast(pa.string()).fill_null("").to_numpy(), object).reshape(-1, 1)
    # as in training: what float32 cannot hold becomes infinite, which the encoder takes as missing
    with np.errstate(over="ignore"):
        return np.asarray(column.cast(pa.float64()).to_numpy(), np.float32).reshape(-1, 1)
