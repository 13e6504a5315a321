"""Erase a subject from a SQL store: its rows, its identifiers within texts, and the pages of deleted rows."""

import re
import time
from collections.abc import Collection, Sequence
from contextlib import closing

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    String,
    Table,
    and_,
    delete,
    func,
    or_,
    select,
    text,
    update,
)

from nightloop.fault import TransientError
from nightloop.stores.database.columns import Document
from nightloop.stores.database.engine import StoreSchema, reading, writing

ERASED = "erased"
_SLICE = 200  # SQLite refuses a chain of more than a thousand conditions
_TRIES, _PAUSE_SECONDS = 20, 0.5


def find_entities(
    engine: Engine, table: Table, use_case: str, whole: Collection[str], parts: Sequence[Collection[str]]
) -> dict[str, int]:
    """Return the rows per entity key that is among `whole`, or of which some column is among its `parts`."""
    found: dict[str, int] = {}
    exact, within = sorted({*whole, *parts[0]}) if len(parts) == 1 else sorted(whole), sorted(set().union(*parts))
    queries: list[ColumnElement[bool]] = [table.c.entity_key.in_(values) for values in _slices(exact)]
    if len(parts) > 1:
        contain = (
            or_(*(table.c.entity_key.contains(v, autoescape=True) for v in values)) for values in _slices(within)
        )
        queries += [*contain]
    with reading(engine) as connection:
        for condition in queries:
            counted = select(table.c.entity_key, func.count().label("rows")).group_by(table.c.entity_key)
            own = connection.execute(counted.where(table.c.use_case == use_case, condition))
            found |= {row.entity_key: row.rows for row in own}
    return {key: rows for key, rows in found.items() if key in whole or _is_own(key, parts)}


def delete_entities(engine: Engine, table: Table, use_case: str, keys: Collection[str]) -> int:
    """Delete the rows of entities and return their number."""
    with writing(engine, f"warehouse/{table.name}/{use_case}") as connection:
        return sum(
            connection.execute(delete(table).where(table.c.use_case == use_case, table.c.entity_key.in_(part))).rowcount
            for part in _slices(sorted(keys))
        )


def redact_texts(engine: Engine, schema: StoreSchema, traces: "re.Pattern[bytes]") -> dict[str, int]:
    """Replace the subject's identifiers within every text of a store that is no key; return rows changed per table."""
    changed = {}
    for table in schema.metadata.sorted_tables:
        texts = [column for column in table.columns if _is_text(column) and not column.primary_key]
        if texts and list(table.primary_key):
            with writing(engine, f"redact/{table.name}") as connection:
                changed[table.name] = _redact(connection, table, texts, traces)
    return {name: rows for name, rows in changed.items() if rows}


def purge_deleted_rows(engine: Engine, schema: StoreSchema) -> None:
    """Have the database give up the pages of deleted rows, its write-ahead log included.

    Raises:
        TransientError: other connections kept the database busy.
    """
    engine.dispose()
    if engine.dialect.name != "sqlite":
        # VACUUM runs in no transaction; without FULL the bytes of deleted rows would stay in their pages
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for table in schema.metadata.sorted_tables:
                connection.execute(text(f"VACUUM FULL {schema.name}.{table.name}"))
        return
    for _ in range(_TRIES):
        # past SQLAlchemy, which begins a transaction, in which SQLite does not vacuum
        with closing(engine.raw_connection()) as opened:
            driver = opened.driver_connection
            assert driver is not None  # noqa: S101 - an open connection has its driver's connection
            driver.execute("VACUUM")
            # until the log is written back, the file itself keeps its pages as they were
            is_busy, *_rest = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not is_busy:
            return
        time.sleep(_PAUSE_SECONDS)
    raise TransientError(f"other connections keep the {schema.name} database busy; its deleted rows are not purged yet")


def _is_own(key: str, parts: Sequence[Collection[str]]) -> bool:
    return any(part in own for part, own in zip(key.split("|"), parts, strict=False))


def _redact(connection: Connection, table: Table, texts: list["Column[object]"], traces: "re.Pattern[bytes]") -> int:
    keys, changed = list(table.primary_key), 0
    for row in connection.execute(select(*keys, *texts)).mappings().all():
        new = {
            column.name: clean for column in texts if (clean := _redacted(row[column.name], traces)) != row[column.name]
        }
        if new:
            same = and_(*(key == row[key.name] for key in keys))
            connection.execute(update(table).where(same).values(new))
            changed += 1
    return changed


def _redacted(value: object, traces: "re.Pattern[bytes]") -> object:
    if isinstance(value, str):
        return traces.sub(ERASED.encode(), value.encode()).decode()
    if isinstance(value, list):
        return [_redacted(one, traces) for one in value]
    if isinstance(value, dict):
        return {str(_redacted(name, traces)): _redacted(one, traces) for name, one in value.items()}
    return value


def _is_text(column: "Column[object]") -> bool:
    return isinstance(column.type, (String, Document))


def _slices(values: Sequence[str]) -> list[Sequence[str]]:
    return [values[start : start + _SLICE] for start in range(0, len(values), _SLICE)]
