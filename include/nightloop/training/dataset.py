"""Training rows as of a cut, from tables of features and labels: pure functions on Arrow tables."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

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

    `fit` and `choose` are disjoint in time: no cohort is in both.
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
    known = labels.select(["row_id", "cohort", LABEL])
    described = features.drop_columns([name for name in ("cohort", LABEL) if name in features.column_names])
    joined = known.join(described, "row_id")
    lost = joined.column("decision_time").null_count
    if lost:
        example = joined.filter(pc.is_null(joined.column("decision_time"))).column("row_id")[0].as_py()
        raise NightloopError(
            Fault(
                "training rows",
                "features for every labelled row",
                f"{lost} of {joined.num_rows} without, for example {example}",
                "refill this feature version over the training window",
            )
        )
    return joined.sort_by([("decision_time", "ascending"), ("row_id", "ascending")]).combine_chunks()


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
        _choose_from(joined.column("cohort").to_numpy(), choose_ratio),
    )


def content_hash(table: pa.Table) -> str:
    """Return a digest of rows and values, whatever the order of rows and columns and the chunks they lie in."""
    digest = hashlib.sha256()
    ordered = table.sort_by("row_id")
    for name in sorted(ordered.column_names):
        column = ordered.column(name)
        digest.update(f"{name}:{len(column)}\n".encode())
        if pa.types.is_floating(column.type):
            digest.update(pc.fill_null(column, float("nan")).to_numpy().astype("<f8").tobytes())
        else:
            texts = pc.fill_null(column.cast(pa.string()), "\x00")
            digest.update("\x1f".join(texts.to_pylist()).encode())
    return digest.hexdigest()


def _choose_from(cohorts: np.ndarray, ratio: float) -> int:
    starts = np.flatnonzero(cohorts[1:] != cohorts[:-1]) + 1
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
