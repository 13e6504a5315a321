"""Labelled rows and scores as the gate sees them."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from nightloop.artifact import score_table
from nightloop.evaluation.bootstrap import JudgedRows
from nightloop.evaluation.disturbance import disturb
from nightloop.evaluation.metrics import Floats
from nightloop.folders.use_case import UseCase
from nightloop.training.plan import PlannedCandidate


def entity_keys(rows: pa.Table, entity: Sequence[str]) -> list[str]:
    """Return one key per row: its entity columns, joined."""
    columns = (rows.column(name).cast(pa.string()).to_pylist() for name in entity)
    return ["|".join(map(str, values)) for values in zip(*columns, strict=True)]


def judged_rows(rows: pa.Table, use_case: UseCase) -> JudgedRows:
    """Return labelled rows as the gate sees them, with the groups of protected and sliced attributes that they hold."""
    protected, slices = (
        {
            name: rows.column(name).cast(pa.string()).fill_null("").to_numpy()
            for name in names
            if name in rows.column_names
        }
        for names in (use_case.protected, use_case.promotion.slices)
    )
    entities = np.array(entity_keys(rows, use_case.entity))
    return JudgedRows(rows.column("label").to_numpy(), rows.column("cohort").to_numpy(), entities, protected, slices)


def score_disturbed(model: bytes, rows: pa.Table, planned: PlannedCandidate) -> dict[str, Floats]:
    """Return a model's scores of the rows under each disturbance of the features that it sees, by its name."""
    moved = disturb(rows, planned.numeric, planned.categorical)
    return {name: score_table(model, table) for name, table in moved}
