"""Read a table or one SELECT of any database that SQLAlchemy speaks to, as a stream of Arrow batches."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import pyarrow as pa
from sqlalchemy import (
    Boolean,
    Connection,
    Date,
    DateTime,
    FromClause,
    MetaData,
    Select,
    Table,
    column,
    create_engine,
    select,
    text,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import InterfaceError, NoSuchModuleError, NoSuchTableError, OperationalError, SQLAlchemyError

from nightloop.etl.params import ChangeWindow, Column, DatabaseExtract
from nightloop.fault import Fault, NightloopError, TransientError
from nightloop.stores.landing.arrow_rows import build_batch, type_of_column, type_of_values

BATCH_ROWS = 50_000
_IN_UTC: Mapping[str, Mapping[str, Any]] = {"postgresql": {"options": "-c timezone=UTC"}}
_STORED_AS_TEXT = {"timestamp": DateTime, "date": Date, "boolean": Boolean}  # by some databases, such as SQLite


@contextmanager
def read_database(
    url: URL, extract: DatabaseExtract, columns: Mapping[str, Column], window: ChangeWindow
) -> Iterator[pa.RecordBatchReader]:
    """Yield the rows that the window takes, or all of them where no change column is declared.

    A table's columns have their database types; those of a query the types of their first values. Instants without a
    zone count as UTC.

    Raises:
        NightloopError: there is no such table or column, or a value is not of its column's type.
        TransientError: the database does not answer.
    """
    where = extract.table or "the query"
    with _named_errors(f"{where} of connection {extract.connection}", url):
        engine = create_engine(url, hide_parameters=True, connect_args=_IN_UTC.get(url.get_backend_name(), {}))
        try:
            with engine.connect() as connection:
                rows = _select(connection, extract, columns)
                streaming = connection.execution_options(stream_results=True, yield_per=BATCH_ROWS)
                result = streaming.execute(_within(rows, extract.changed_at, window, where))
                yield _read_batches(rows, result.partitions(), columns, where)
        finally:
            engine.dispose()


def _select(connection: Connection, extract: DatabaseExtract, columns: Mapping[str, Column]) -> FromClause:
    if extract.table is not None:
        schema, _, name = extract.table.rpartition(".")
        return Table(name, MetaData(), schema=schema or None, autoload_with=connection)
    # a colon would begin a parameter of SQLAlchemy's
    query = text((extract.query or "").strip().rstrip(";").replace(":", r"\:"))
    # a query names its columns only in an answer: ask for one without rows
    nothing = select(text("*")).select_from(query.columns().subquery("extracted")).where(text("1 = 0"))
    names = list(connection.execute(nothing).keys())
    typed = [column(name, _type_of_text(columns.get(name))) for name in names]
    return query.columns(*typed).subquery("extracted")


def _type_of_text(declared: Column | None) -> Any:
    kind = _STORED_AS_TEXT.get(declared.type) if declared else None
    return kind() if kind else None


def _within(rows: FromClause, changed_at: str | None, window: ChangeWindow, where: str) -> Select[Any]:
    query = select(rows)
    if changed_at is None:
        return query
    if changed_at not in rows.c:
        found = ", ".join(rows.c.keys())
        raise NightloopError(Fault(f"changed_at of {where}", changed_at, found, "name a column of it"))
    changed = rows.c[changed_at]
    # in order of change, which `_row` keeps: of two versions of a record in one night the later row stands
    query = query.where(changed <= _naive(window.to)).order_by(changed)
    return query if window.after is None else query.where(changed > _naive(window.after))


def _naive(instant: datetime) -> datetime:
    # fits both kinds of column: one without a zone counts as UTC, and PostgreSQL's session is in UTC for the other
    return instant.astimezone(UTC).replace(tzinfo=None)


def _read_batches(
    rows: FromClause, parts: Iterator[Sequence[Any]], columns: Mapping[str, Column], where: str
) -> pa.RecordBatchReader:
    # the schema stands before the first batch goes out, and a query's types are those of its values
    first = next(parts, [])
    types = [
        type_of_column(each.type)
        if isinstance(rows, Table)
        else type_of_values((row[index] for row in first), columns.get(name))
        for index, (name, each) in enumerate(rows.c.items())
    ]
    schema = pa.schema(list(zip(rows.c.keys(), types, strict=True)))
    batches = (build_batch(part, schema, where) for part in chain([first], parts))
    return pa.RecordBatchReader.from_batches(schema, batches)


@contextmanager
def _named_errors(where: str, url: URL) -> Iterator[None]:
    """Turn the database's errors into ours, without the password that some drivers repeat."""
    try:
        yield
    except NoSuchTableError:
        raise NightloopError(Fault(where, "a table or view", "none", "correct `extract.table`")) from None
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise NightloopError(Fault(where, "a driver for it", str(error), "install the driver's package")) from None
    except (OperationalError, InterfaceError) as error:
        raise TransientError(f"{where} did not answer: {_without_password(error, url)}") from None
    except (SQLAlchemyError, ValueError) as error:
        found = _without_password(error, url)
        raise NightloopError(Fault(where, "rows", found, "correct `extract` in source.yaml")) from None


def _without_password(error: Exception, url: URL) -> str:
    words = " ".join(str(getattr(error, "orig", None) or error).split())[:300]
    return words.replace(str(url.password), "***") if url.password else words
