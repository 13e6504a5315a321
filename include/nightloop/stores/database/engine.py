"""SQL engines of the ledger and the warehouse: SQLite with a write-ahead log, or PostgreSQL, behind the same calls.

On PostgreSQL a store is a schema; on SQLite it is a file of its own and the schema name falls away.
"""

import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    RootTransaction,
    Select,
    String,
    Table,
    create_engine,
    event,
    func,
    inspect,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from nightloop.fault import Fault, NightloopError, TransientError

BUSY_SECONDS = 5.0
# between five tries, each of which waits BUSY_SECONDS within SQLite as well: half a minute in all
LOCK_WAITS_SECONDS = (0.1, 0.5, 1.0, 2.0)
_WRITING = "nightloop_writing"
_LOCKED = ("database is locked", "database table is locked", "database is busy")
# PostgreSQL's: connection, serialisation, deadlock, too many connections, lock not available, shutdown
_TRANSIENT_STATES = ("08", "40001", "40P01", "53300", "55P03", "57P")


@dataclass(frozen=True, slots=True)
class StoreSchema:
    """One SQL store: the name of its schema, its tables, and the revision that this code expects."""

    name: str
    metadata: MetaData
    revision: str

    @property
    def revision_table(self) -> str:
        return f"{self.name}_revision"


def open_engine(url: str, schema: StoreSchema) -> Engine:
    """Return an engine on a migrated store.

    Raises:
        NightloopError: the database is missing, was never migrated, or has another revision than this code expects.
        TransientError: the database does not answer.
    """
    parsed = make_url(url)
    # asked first, for SQLite makes an empty database of a wrong address
    if _is_missing_file(parsed):
        raise _wrong_revision(schema, parsed, "no such file")
    engine = build_engine(url, schema)
    with reading(engine) as connection:
        found = find_revision(connection, schema)
    if found != schema.revision:
        engine.dispose()
        raise _wrong_revision(schema, parsed, found or "no revision")
    return engine


def build_engine(url: str, schema: StoreSchema) -> Engine:
    """Return an engine that maps the store's schema; nothing is opened or checked yet."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        # parameters are hidden here and below: an error's text ends in logs, and would carry values of rows there
        options = {"schema_translate_map": {schema.name: None}}
        engine = create_engine(parsed, hide_parameters=True, execution_options=options)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    return create_engine(parsed, hide_parameters=True, pool_pre_ping=True)


def find_revision(connection: Connection, schema: StoreSchema) -> str | None:
    """Return the revision that a database was migrated to; None where it never was."""
    namespace = schema_of(connection, schema)
    if not inspect(connection).has_table(schema.revision_table, schema=namespace):
        return None
    revision = Table(schema.revision_table, MetaData(), Column("version_num", String), schema=schema.name)
    return connection.scalar(select(revision.c.version_num))


def schema_of(connection: Connection, schema: StoreSchema) -> str | None:
    """Return the schema to name in SQL text: none on SQLite."""
    return None if is_sqlite(connection) else schema.name


def is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Yield a connection that sees one state of the store."""
    with _transient_errors(), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine, lock: str) -> Iterator[Connection]:
    """Yield a connection in one transaction; writers that name the same lock come one after the other.

    SQLite has one lock for all writers, taken at the beginning, so a transaction never fails on it halfway.

    Raises:
        TransientError: the lock did not come within bounds, or the server went away.
    """
    with _transient_errors(), engine.connect() as opened:
        connection = opened.execution_options(**{_WRITING: True})
        with _begin_writing(connection):
            if not is_sqlite(connection):
                # names of one checksum only wait for each other; the lock ends with the transaction, a killed one too
                connection.execute(select(func.pg_advisory_xact_lock(zlib.crc32(lock.encode()))))
            yield connection


def insert_missing(connection: Connection, into: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append rows; a row whose key is already there is left as it is."""
    if rows:
        insert = sqlite.insert(into) if is_sqlite(connection) else postgresql.insert(into)
        connection.execute(insert.on_conflict_do_nothing(), list(rows))


def current_rows(of: Table, keys: Sequence[str], *conditions: Any) -> Select[Any]:
    """Select the rows of the highest token per key, among those that meet the conditions."""
    # by rank, not by row number: an attempt leaves several rows under one key, and all of them count
    recency = func.rank().over(partition_by=[of.c[key] for key in keys], order_by=of.c.token.desc())
    ranked = select(of, recency.label("recency")).where(*conditions).subquery()
    return select(*(ranked.c[one.name] for one in of.c)).where(ranked.c.recency == 1)


def _begin_writing(connection: Connection) -> RootTransaction:
    for wait_seconds in LOCK_WAITS_SECONDS:
        try:
            return connection.begin()
        except OperationalError as error:
            if not _is_locked(error):
                raise
            time.sleep(wait_seconds)
    return connection.begin()


@contextmanager
def _transient_errors() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if _is_locked(error) or _is_gone(error):
            raise TransientError(f"the database did not take part: {error.orig}") from error
        raise


def _is_locked(error: DBAPIError) -> bool:
    return any(mark in str(error.orig) for mark in _LOCKED)


def _is_gone(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    # psycopg's error has no state where no server was reached; SQLite's errors have no such attribute
    state = getattr(error.orig, "sqlstate", "00000")
    if state is None:
        return isinstance(error, OperationalError)
    return str(state).startswith(_TRANSIENT_STATES)


def _prepare_sqlite(connection: Any, _: object) -> None:
    # Python's driver would begin by itself, and only at the first write; `_begin_sqlite` begins instead
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={int(BUSY_SECONDS * 1000)}",
        "journal_mode=WAL",
        "synchronous=NORMAL",  # beside the log, a loss of power takes the last commits at most
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    is_writing = connection.get_execution_options().get(_WRITING, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")


def _is_missing_file(url: URL) -> bool:
    return url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file()


def _wrong_revision(schema: StoreSchema, url: URL, found: str) -> NightloopError:
    where = f"{schema.name} database {url.render_as_string(hide_password=True)}"
    remedy = "run `nightloop up` or `nightloop migrate`; a revision newer than this code needs newer code"
    return NightloopError(Fault(where, f"revision {schema.revision}", found, remedy))
