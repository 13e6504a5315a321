"""The records that one row's as-of view met, found again without Spark: what `visible` does, for a single row."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot.errors import SqlglotError
from sqlglot.executor import execute

from nightloop.asof.params import SourceView
from nightloop.run import format_night

# as in `asof.versions`: by another order a trace would name versions that the row did not meet
_ORDER = ("known_at", "night", "_file", "_row")


def select_records(
    rows: pa.Table,
    view: SourceView,
    key: Mapping[str, pa.Scalar],
    decided: datetime,
    as_of: datetime,
    opened: Mapping[str, datetime] | None = None,
) -> pa.Table:
    """Return the clean rows that a decision met: of each record the last version it could know, if that joins.

    `rows` hold every version of the records that ever joined; `key` the spine columns of the row. `opened` is as in
    `visible.AsofSource`: what was declared as known before its night opened counts as loaded before every night. A
    tombstone whose condition cannot be evaluated outside Spark stays in.
    """
    is_loaded = pc.less_equal(rows.column("night").cast(pa.string()), format_night(as_of))
    if opened is not None:
        ends = pa.array([_to_micros(opened[night]) for night in rows.column("night").to_pylist()], pa.int64())
        is_history = pc.less_equal(_micros(rows.column("known_at")), ends)
        is_loaded = pc.or_(is_loaded, pc.and_(pc.equal(rows.column("known_by"), "declared"), is_history))
    is_known = pc.less_equal(_micros(rows.column("known_at")), _to_micros(decided))
    # chosen before the join: under its old key a record that has moved would show a version that is over
    found = _last_versions(rows.filter(pc.and_(is_loaded, is_known)), view)
    for left, right in view.join.items():
        found = found.filter(equals(found.column(left), key[right]))
    if view.lookback_days != "unbounded":
        since = _to_micros(decided - timedelta(days=view.lookback_days))
        found = found.filter(pc.greater(_micros(found.column("known_at")), since))
    return _without_tombstones(found, view)


def equals(column: pa.ChunkedArray, value: pa.Scalar) -> pa.ChunkedArray:
    """Compare a source's column with a spine's value, whose type may have been widened on its way into the features."""
    if pa.types.is_timestamp(column.type):
        return pc.equal(_micros(column), _micros(value))
    numbers = [pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in (column.type, value.type)]
    common = pa.float64() if all(numbers) else pa.string()
    return pc.equal(column.cast(common), value.cast(common))


def _last_versions(rows: pa.Table, view: SourceView) -> pa.Table:
    ordered = rows.sort_by([(name, "descending") for name in _ORDER])
    first: dict[tuple[object, ...], int] = {}
    for number, key in enumerate(zip(*(ordered.column(name).to_pylist() for name in view.record_keys), strict=True)):
        first.setdefault(key, number)
    return ordered.take(pa.array(first.values(), pa.int64()))


def _without_tombstones(rows: pa.Table, view: SourceView) -> pa.Table:
    if not view.tombstone or not rows.num_rows:
        return rows
    query = f"SELECT {view.tombstone} AS is_tombstone FROM versions"  # noqa: S608 - never leaves Python
    try:
        found = execute(query, dialect="spark", tables={"versions": rows.to_pylist()}).rows
    except SqlglotError:
        return rows
    return rows.filter(pa.array([is_tombstone is not True for (is_tombstone,) in found]))


def _micros(instants: pa.ChunkedArray | pa.Scalar) -> pa.ChunkedArray | pa.Scalar:
    # as numbers, for the two sides of a comparison may differ in unit and zone
    return instants.cast(pa.timestamp("us", getattr(instants.type, "tz", None))).cast(pa.int64())


def _to_micros(instant: datetime) -> int:
    return round(instant.timestamp() * 1e6)
