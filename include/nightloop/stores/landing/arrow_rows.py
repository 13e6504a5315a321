"""Rows of a database as Arrow: which Arrow type each column has, and how values become it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
from sqlalchemy import types as sql

from nightloop.etl.params import Column
from nightloop.fault import Fault, NightloopError

_TIMESTAMP = pa.timestamp("us", "UTC")
_MAX_PRECISION = 38
_OF_CONTRACT: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": _TIMESTAMP,
}
# the first match counts: a BigInteger is an Integer too
_OF_SQL: Sequence[tuple[type[sql.TypeEngine[Any]], pa.DataType]] = (
    (sql.Boolean, pa.bool_()),
    (sql.BigInteger, pa.int64()),
    (sql.Integer, pa.int32()),
    (sql.DateTime, _TIMESTAMP),
    (sql.Date, pa.date32()),
    (sql.LargeBinary, pa.binary()),
)
# the first match counts: to Python a bool is an int, and a datetime a date
_OF_VALUES: Sequence[tuple[type, pa.DataType]] = (
    (bool, pa.bool_()),
    (int, pa.int64()),
    (float, pa.float64()),
    (Decimal, pa.float64()),  # a query does not say how many digits it has
    (datetime, _TIMESTAMP),
    (date, pa.date32()),
    (bytes, pa.binary()),
)


def type_of_column(dtype: sql.TypeEngine[Any]) -> pa.DataType:
    """Return the Arrow type for a column of a database's table; what has no counterpart becomes text."""
    if isinstance(dtype, sql.Numeric):
        precision = dtype.precision if dtype.asdecimal and not isinstance(dtype, sql.Float) else None
        is_exact = precision is not None and precision <= _MAX_PRECISION
        return pa.decimal128(precision, dtype.scale or 0) if is_exact else pa.float64()
    return next((arrow for kind, arrow in _OF_SQL if isinstance(dtype, kind)), pa.string())


def type_of_values(values: Iterable[Any], declared: Column | None) -> pa.DataType:
    """Return the Arrow type for a column of a query, which has no type but its values.

    Whole numbers have the size that the contract gives them, and a column without values has the contract's type.
    """
    expected = _OF_CONTRACT[declared.type] if declared else None
    value = next((value for value in values if value is not None), None)
    if value is None:
        return expected or pa.string()
    found = next((arrow for kind, arrow in _OF_VALUES if isinstance(value, kind)), pa.string())
    return expected if expected is not None and pa.types.is_integer(found) and pa.types.is_integer(expected) else found


def build_batch(rows: Sequence[Sequence[Any]], schema: pa.Schema, where: str) -> pa.RecordBatch:
    """Return rows as one batch.

    Raises:
        NightloopError: a value is not of its column's type; the value is not told.
    """
    arrays = []
    for index, field in enumerate(schema):
        plain = _PLAIN.get(field.type, _as_is)
        try:
            arrays.append(pa.array([None if row[index] is None else plain(row[index]) for row in rows], field.type))
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            remedy = "cast the column in a `query`, or mend the table"
            fault = Fault(f"column {field.name} of {where}", f"values of type {field.type}", "another one", remedy)
            raise NightloopError(fault) from None
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _as_is(value: Any) -> Any:
    return value


_PLAIN: Mapping[pa.DataType, Callable[[Any], Any]] = {pa.string(): str, pa.float64(): float}
