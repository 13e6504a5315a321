"""Read a Delta table that is not ours, at one version, as a stream of Arrow batches. No Spark."""

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from nightloop.etl.params import ChangeWindow, DeltaExtract
from nightloop.fault import Fault, NightloopError

BATCH_ROWS = 65_536


def open_delta(extract: DeltaExtract, window: ChangeWindow) -> DeltaTable | None:
    """Return the table, pinned: the version that was the newest at the window's end; None before its first one.

    With a change column it is the newest version there is, for the column says which rows are the night's.

    Raises:
        NightloopError: there is no such table, or its log does not reach back to that version.
    """
    try:
        table = DeltaTable(extract.location.replace("s3a://", "s3://"))
    except TableNotFoundError:
        fault = Fault(f"Delta table {extract.location}", "a table", "none", "correct `extract.location`")
        raise NightloopError(fault) from None
    if extract.changed_at is not None:
        return table
    committed = {int(entry["version"]): int(entry["timestamp"]) for entry in table.history()}
    known = [version for version, at in committed.items() if at <= window.to.timestamp() * 1000]
    if known:
        table.load_as_version(max(known))
        return table
    # the log no longer reaches back that far; where it holds version 0, the table had not begun
    if min(committed) > 0:
        found = f"versions from {min(committed)} on"
        remedy = "keep the table's log longer, or declare `changed_at`"
        where = f"Delta table {extract.location} as of {window.to.isoformat()}"
        raise NightloopError(Fault(where, "the version of that instant", found, remedy))
    return None


def read_delta(table: DeltaTable, extract: DeltaExtract, window: ChangeWindow) -> pa.RecordBatchReader:
    """Return the rows of the pinned version that the window takes, or all where no change column is declared.

    Raises:
        NightloopError: the change column is no timestamp of the table.
    """
    dataset = table.to_pyarrow_dataset()
    condition = _within(dataset.schema, extract.changed_at, window)
    scanner = dataset.scanner(filter=condition, batch_size=BATCH_ROWS)
    return scanner.to_reader()


def _within(schema: pa.Schema, changed_at: str | None, window: ChangeWindow) -> "pyarrow.dataset.Expression | None":
    if changed_at is None:
        return None
    if changed_at not in schema.names or not pa.types.is_timestamp(schema.field(changed_at).type):
        found = ", ".join(f"{field.name} {field.type}" for field in schema)
        raise NightloopError(Fault("extract.changed_at", f"the timestamp column {changed_at}", found, "name another"))
    dtype = schema.field(changed_at).type
    condition = pc.field(changed_at) <= _scalar(window.to, dtype)
    return condition if window.after is None else condition & (pc.field(changed_at) > _scalar(window.after, dtype))


def _scalar(instant: datetime, dtype: pa.TimestampType) -> pa.Scalar:
    utc = instant.astimezone(UTC)
    return pa.scalar(utc if dtype.tz else utc.replace(tzinfo=None), dtype)
