"""Fit rows of the lake to the tables of the warehouse: pure functions over Arrow batches."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Float, Integer, Table
from sqlalchemy.types import TypeEngine

from nightloop.fault import Fault, NightloopError
from nightloop.run import RunKey, format_night, parse_night
from nightloop.stores.database.columns import Instant
from nightloop.stores.ledger.rows import MetricRow

INSTANT = pa.timestamp("us", "UTC")
Given = dict[str, str | datetime]
_LAKE_NAMES = {"as_of": "night", "cohort_as_of": "cohort", "entity_key": "row_id"}


def fit_batches(
    batches: Iterable[pa.RecordBatch], table: Table, run_keys: Sequence[RunKey], loaded_wall: datetime
) -> Iterator[pa.RecordBatch]:
    """Yield batches with exactly the columns of a warehouse table, in its order and types.

    Columns come by their name, or by the name they have in the lake: `as_of` from `night`, `cohort_as_of` from
    `cohort`, `entity_key` from `row_id`. The run keys give `use_case` and `variant`, a single one also `as_of`.

    Raises:
        NightloopError: a column is missing, or a row belongs to none of the run keys.
    """
    given: Given = {"use_case": run_keys[0].scope, "variant": run_keys[0].variant, "loaded_wall": loaded_wall}
    if len(run_keys) == 1:
        given["as_of"] = run_keys[0].as_of
    for batch in batches:
        _assert_columns(batch, table, given)
        columns = [_fit_column(batch, column.name, column.type, given) for column in table.columns]
        fitted = pa.RecordBatch.from_arrays(columns, names=[column.name for column in table.columns])
        _assert_run_keys(fitted, table, run_keys)
        yield fitted


def entity_keys(row_ids: pa.Array) -> pa.Array:
    """Return the entity keys within row ids.

    >>> entity_keys(pa.array(["7|JFK@1735689600000000"])).to_pylist()
    ['7|JFK']
    """
    return pc.replace_substring_regex(row_ids, r"@-?\d+$", "")


def night_instants(nights: pa.Array) -> pa.Array:
    """Return the instants that values of a `night` column name.

    >>> night_instants(pa.array(["20250105T0200Z"])).to_pylist()[0].isoformat()
    '2025-01-05T02:00:00+00:00'
    """
    # a name is parsed once a night, not once a row
    encoded = nights.dictionary_encode() if not pa.types.is_dictionary(nights.type) else nights
    instants = pa.array([parse_night(night) for night in encoded.dictionary.to_pylist()], INSTANT)
    return instants.take(encoded.indices)


def performance_table(rows: Sequence[MetricRow]) -> pa.Table:
    """Return metrics of the ledger as rows of the warehouse's `performance`."""
    return pa.table(
        {
            "as_of": pa.array([row.as_of for row in rows], INSTANT),
            "cohort_as_of": pa.array([row.cohort_as_of for row in rows], INSTANT),
            "model_version": pa.array([row.model_version for row in rows], pa.int64()),
            "population": pa.array([row.population for row in rows], pa.string()),
            "metric": pa.array([row.metric for row in rows], pa.string()),
            "value": pa.array([row.value for row in rows], pa.float64()),
            "row_count": pa.array([row.rows for row in rows], pa.int64()),
        }
    )


def _fit_column(batch: pa.RecordBatch, name: str, kind: TypeEngine[object], given: Given) -> pa.Array:
    target = _arrow_type(kind)
    if name in batch.schema.names and name not in ("use_case", "variant", "loaded_wall"):
        fitted = batch.column(name).cast(target)
        # SQLite keeps no NaN, so that null stands for it in both databases
        return pc.if_else(pc.is_nan(fitted), pa.scalar(None, target), fitted) if target == pa.float64() else fitted
    lake_name = _LAKE_NAMES.get(name)
    if lake_name in batch.schema.names:
        values = batch.column(lake_name)
        return entity_keys(values).cast(target) if name == "entity_key" else night_instants(values)
    return pa.repeat(pa.scalar(given[name], target), batch.num_rows)


def _arrow_type(kind: TypeEngine[object]) -> pa.DataType:
    if isinstance(kind, Instant):
        return INSTANT
    if isinstance(kind, Integer):
        return pa.int64()
    return pa.float64() if isinstance(kind, Float) else pa.string()


def _assert_columns(batch: pa.RecordBatch, table: Table, given: Given) -> None:
    found = {*batch.schema.names, *given}
    names = [column.name for column in table.columns]
    missing = [name for name in names if name not in found and _LAKE_NAMES.get(name) not in found]
    if missing:
        expected = ", ".join(missing)
        raise NightloopError(Fault(f"rows for {table.name}", f"columns {expected}", ", ".join(batch.schema.names)))


def _assert_run_keys(fitted: pa.RecordBatch, table: Table, run_keys: Sequence[RunKey]) -> None:
    found = set(pc.unique(fitted.column("as_of")).to_pylist())
    foreign = found - {key.as_of for key in run_keys}
    if foreign:
        nights = ", ".join(format_night(as_of) for as_of in sorted(foreign))
        expected = f"rows of {run_keys[0]} to {run_keys[-1].night} only"
        raise NightloopError(Fault(f"rows for {table.name}", expected, f"rows of {nights}"))
