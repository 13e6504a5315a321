"""Training rows as of a cut, from tables of features and labels: pure functions on Arrow tables."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nightloop.fault import Fault, NightloopError
from nightloop.run import format_night

LABEL = "label"
WEIGHT = "weight"
_LABEL_COLUMNS = ("row_id", "decision_time", "cohort", LABEL)


@dataclass(frozen=True)
class TrainingRows:
    """Labelled rows, oldest first, with their weights, and where the choose window begins.

    `fit` and `choose` are disjoint in time; only a window of one cohort is cut within it.
    """

    whole: pa.Table
    choose_from: int

    @property
    def fit(self) -> pa.Table:
        return self.whole.slice(0, self.choose_from)

    @property
    def choose(self) -> pa.Table:
        return self.whole.slice(self.choose_from)


def matured_labels(labels: pa.Table, after: datetime | None, until: datetime) -> pa.Table:
    """Return the observed labels that matured in (after, until]; `night` of a label is its maturity."""
    night = labels.column("night").cast(pa.string())
    mask = pc.and_(labels.column("is_observed"), pc.less_equal(night, format_night(until)))
    if after is not None:
        mask = pc.and_(mask, pc.greater(night, format_night(after)))
    return labels.filter(pc.and_(mask, pc.is_valid(labels.column(LABEL)))).select(_LABEL_COLUMNS)


def join_labels(features: pa.Table, labels: pa.Table) -> pa.Table:
    """Return feature rows with their label and cohort, in the order (decision_time, row_id).

    Raises:
        NightloopError: a labelled row has no features of this version.
    """
    ordered = labels.sort_by([("decision_time", "ascending"), ("row_id", "ascending")])
    row_ids = ordered.column("row_id")
    places = pc.index_in(row_ids, value_set=features.column("row_id").combine_chunks().cast(row_ids.type))
    if lost := places.null_count:
        example = row_ids.filter(pc.is_null(places))[0].as_py()
        raise NightloopError(
            Fault(
                "training rows",
                "features for every labelled row",
                f"{lost} of {labels.num_rows} without, for example {example}",
                "refill this feature version over the training window",
            )
        )
    described = features.drop_columns([name for name in ("cohort", LABEL) if name in features.column_names])
    joined = described.take(places)
    for name in ("cohort", LABEL):
        joined = joined.append_column(name, ordered.column(name))
    return joined.combine_chunks()


def select_window(labels: pa.Table, cut: datetime, window_days: int) -> pa.Table:
    """Return the labels whose decision lies in [cut - window, cut]."""
    first = pa.scalar(cut - timedelta(days=window_days), labels.schema.field("decision_time").type)
    return labels.filter(pc.greater_equal(labels.column("decision_time"), first))


def prepare_rows(
    joined: pa.Table, cut: datetime, choose_ratio: float, half_life_days: float | None = None
) -> TrainingRows:
    """Weigh rows by age at the cut and find where the choose window begins.

    The choose window is the youngest cohorts that together hold at least `choose_ratio` of the rows, and never all; a
    single cohort is cut within.

    Raises:
        NightloopError: there are fewer than two rows.
    """
    if joined.num_rows <= 1:
        raise NightloopError(
            Fault(
                f"training rows as of {cut.isoformat()}",
                "at least two labelled rows",
                f"{joined.num_rows}",
                "wait until more labels mature, or lengthen training.window_days",
            )
        )
    return TrainingRows(
        joined.append_column(WEIGHT, pa.array(_weights(joined, cut, half_life_days))),
        _choose_from(joined.column("cohort"), choose_ratio),
    )


class ContentHash:
    """A digest of rows and values in their order, whatever the order of columns and the parts that they come in."""

    def __init__(self) -> None:
        self._columns: dict[str, Any] = {}

    def add(self, rows: pa.Table) -> None:
        """Take in the next rows."""
        for name in rows.column_names:
            column, digest = rows.column(name), self._columns.setdefault(name, hashlib.sha256())
            if pa.types.is_floating(column.type):
                # as little-endian doubles, so that neither a column's width nor the machine changes the digest
                digest.update(pc.fill_null(column, float("nan")).to_numpy().astype("<f8").tobytes())
            else:
                # each text is closed by a mark, else "ab", "c" and "a", "bc" would be one; a null is no empty text
                texts = pc.fill_null(column.cast(pa.string()), "\x00")
                digest.update("".join(f"{text}\x1f" for text in texts.to_pylist()).encode())

    def hexdigest(self) -> str:
        """Return the digest of all rows so far."""
        told = "".join(f"{name}:{digest.hexdigest()}\n" for name, digest in sorted(self._columns.items()))
        return hashlib.sha256(told.encode()).hexdigest()


def take_evenly(table: pa.Table, rows: int) -> pa.Table:
    """Return at most this many rows, spread evenly over the table: the same ones each time."""
    if table.num_rows <= rows:
        return table
    return table.take(np.linspace(0, table.num_rows - 1, rows).astype(np.int64))


def lay_out(path: Path, tables: Iterator[pa.Table]) -> pa.Table:
    """Write tables one after the other into a file and return it as one, mapped into memory."""
    writer: pa.ipc.RecordBatchFileWriter | None = None
    for table in tables:
        writer = writer or pa.ipc.new_file(str(path), table.schema)
        writer.write_table(table)
        del table  # before the next one is read
        pa.default_memory_pool().release_unused()
    if writer is not None:
        writer.close()
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _choose_from(cohorts: pa.ChunkedArray, ratio: float) -> int:
    sizes = [one["counts"] for one in cohorts.value_counts().to_pylist()]  # in the order in which they come
    starts = np.cumsum(sizes)[:-1]
    latest = int(len(cohorts) * (1.0 - ratio))
    earlier = starts[starts <= latest]
    if earlier.size:
        return int(earlier[-1])
    return int(starts[0]) if starts.size else max(1, latest)


def _weights(table: pa.Table, cut: datetime, half_life_days: float | None) -> np.ndarray:
    if half_life_days is None:
        return np.ones(table.num_rows)
    decided = table.column("decision_time").cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    ages_days = (cut.astimezone(UTC).timestamp() - decided / 1e6) / 86_400
    return np.asarray(0.5 ** (np.maximum(ages_days, 0.0) / half_life_days))
