"""Migrations lead to the tables that the code expects; a database of another revision is refused."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from nightloop.fault import NightloopError, TransientError
from nightloop.stores.database import engine as database
from nightloop.stores.database.engine import StoreSchema, build_engine, is_sqlite, open_engine, schema_of, writing
from nightloop.stores.database.migrations import read_revisions
from nightloop.stores.ledger.ledger import migrate as migrate_ledger
from nightloop.stores.ledger.schema import LEDGER
from nightloop.stores.warehouse.schema import WAREHOUSE
from nightloop.stores.warehouse.warehouse import migrate as migrate_warehouse

BACKENDS = [
    pytest.param("sqlite", id="sqlite"),
    pytest.param("postgresql", id="postgresql", marks=pytest.mark.slow),
]
STORES = [pytest.param(LEDGER, migrate_ledger, id="ledger"), pytest.param(WAREHOUSE, migrate_warehouse, id="warehouse")]


@pytest.mark.parametrize("store_url", BACKENDS, indirect=True)
@pytest.mark.parametrize(("schema", "migrate"), STORES)
def test_migrated_tables_are_those_of_the_code(store_url: str, schema: StoreSchema, migrate) -> None:
    migrate(store_url)
    migrate(store_url)
    engine = open_engine(store_url, schema)
    with engine.connect() as connection:
        found = set(connection.dialect.get_table_names(connection, schema=schema_of(connection, schema)))
        assert found == {table.name for table in schema.metadata.sorted_tables} | {schema.revision_table}
        if not is_sqlite(connection):
            options = {
                "include_schemas": True,
                "include_name": lambda name, kind, _: kind != "schema" or name == schema.name,
            }
            context = MigrationContext.configure(connection, opts={**options, "compare_type": True})
            differences = [one for one in compare_metadata(context, schema.metadata) if one[0] != "remove_table"]
            assert differences == []
    engine.dispose()


@pytest.mark.parametrize(("schema", "migrate"), STORES)
def test_revision_of_the_code_is_the_newest(schema: StoreSchema, migrate) -> None:
    script = read_revisions(schema)
    assert script.get_current_head() == schema.revision


def test_missing_database_is_refused_and_not_created(tmp_path: Path) -> None:
    with pytest.raises(NightloopError, match="run `nightloop up` or `nightloop migrate`"):
        open_engine(f"sqlite:///{tmp_path}/none.db", LEDGER)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("store_url", BACKENDS, indirect=True)
def test_other_revision_is_refused(store_url: str) -> None:
    migrate_ledger(store_url)
    engine = build_engine(store_url, LEDGER)
    with writing(engine, "test") as connection:
        prefix = "" if is_sqlite(connection) else "ledger."
        connection.execute(text(f"UPDATE {prefix}ledger_revision SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(NightloopError, match=f"expected revision {LEDGER.revision}, found 9999"):
        open_engine(store_url, LEDGER)


def test_locked_database_is_transient(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LOCK_WAITS_SECONDS", (0.01,))
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    migrate_ledger(store_url)
    holder, waiter = build_engine(store_url, LEDGER), build_engine(store_url, LEDGER)
    with writing(holder, "one"), pytest.raises(TransientError, match="locked"), writing(waiter, "two"):
        pass
    with writing(waiter, "two"):
        pass
    holder.dispose()
    waiter.dispose()


def test_password_is_not_in_the_error(tmp_path: Path) -> None:
    url = f"sqlite://user:secret@/{tmp_path}/none.db"
    with pytest.raises(NightloopError) as refused:
        open_engine(url, LEDGER)
    assert "secret" not in str(refused.value)
