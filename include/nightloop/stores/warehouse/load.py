"""Bulk loads inside a running transaction: COPY into PostgreSQL, executemany into SQLite."""

import io
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from sqlalchemy import Connection, Table, text

from nightloop.stores.database.engine import is_sqlite, schema_of
from nightloop.stores.warehouse.schema import WAREHOUSE

SLICE_ROWS = 20_000


def load_batches(connection: Connection, table: Table, batches: Iterable[pa.RecordBatch]) -> None:
    """Append batches that have exactly the table's columns; memory is bounded by one batch."""
    if is_sqlite(connection):
        # not by ADBC: its own SQLite, beside Python's in one process, has corrupted the file
        _insert(connection, table, batches)
    else:
        _copy(connection, table, batches)


def _insert(connection: Connection, table: Table, batches: Iterable[pa.RecordBatch]) -> None:
    places = ", ".join("?" * len(table.columns))
    statement = f"INSERT INTO {table.name} ({_column_list(connection, table)}) VALUES ({places})"  # noqa: S608 - our own names
    for batch in batches:
        for start in range(0, batch.num_rows, SLICE_ROWS):
            columns = [_to_sqlite(column) for column in batch.slice(start, SLICE_ROWS).columns]
            connection.exec_driver_sql(statement, list(zip(*columns, strict=True)))


def _to_sqlite(column: pa.Array) -> list[object]:
    if pa.types.is_timestamp(column.type):
        # as SQLAlchemy writes an Instant there, microseconds included, for SQLite compares them as text
        column = pc.strftime(column.cast(pa.timestamp("us")), "%Y-%m-%d %H:%M:%S")
    return column.to_pylist()  # type: ignore[no-any-return]


def _copy(connection: Connection, table: Table, batches: Iterable[pa.RecordBatch]) -> None:
    name = f"{schema_of(connection, WAREHOUSE)}.{table.name}"
    statement = f"COPY {name} ({_column_list(connection, table)}) FROM STDIN WITH (FORMAT csv)"
    # the instants of the CSV carry no zone
    connection.execute(text("SET LOCAL TIME ZONE 'UTC'"))
    # Arrow quotes every text and leaves nulls bare: so COPY tells an empty text from null
    options = pyarrow.csv.WriteOptions(include_header=False)
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101 - an open connection has its driver's connection
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for batch in batches:
            buffer = io.BytesIO()
            pyarrow.csv.write_csv(_without_zones(batch), buffer, options)
            copy.write(buffer.getbuffer())


def _without_zones(batch: pa.RecordBatch) -> pa.Table:
    """Drop the zones of UTC instants: Arrow writes them twenty times faster without."""
    columns = [
        column.cast(pa.timestamp("us")) if pa.types.is_timestamp(column.type) else column for column in batch.columns
    ]
    return pa.table(columns, names=batch.schema.names)


def _column_list(connection: Connection, table: Table) -> str:
    quote = connection.dialect.identifier_preparer.quote
    return ", ".join(quote(column.name) for column in table.columns)
