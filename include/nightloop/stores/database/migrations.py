"""Migrations of the SQL stores by Alembic: one tree of revisions per store, beside its tables."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.schema import CreateSchema

from nightloop.stores.database.engine import StoreSchema, build_engine, find_revision, is_sqlite, schema_of, writing

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

STORES = Path(__file__).parents[1]
Step = Callable[[Connection], None]


def _do_nothing(_: Connection) -> None:
    pass


def migrate_store(url: str, schema: StoreSchema, prepare: Step = _do_nothing, finish: Step = _do_nothing) -> None:
    """Bring a store to its newest revision in one transaction; a store that is there already stays as it is.

    `prepare` and `finish` run in the same transaction, before the first and after the last revision. Two migrations at
    a time come one after the other.

    Raises:
        TransientError: the database is locked or does not answer.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = build_engine(url, schema)
    try:
        with writing(engine, f"migrate/{schema.name}") as connection:
            # asked under the lock: of two migrations that waited for it the second one finds the work done
            if find_revision(connection, schema) != schema.revision:
                prepare(connection)
                _upgrade(connection, schema)
                finish(connection)
    finally:
        engine.dispose()


def read_revisions(schema: StoreSchema) -> "ScriptDirectory":
    """Return the revisions of one store, as its package holds them."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(STORES), version_locations=[str(STORES / schema.name / "migrations")])


def _upgrade(connection: Connection, schema: StoreSchema) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext

    if not is_sqlite(connection):
        connection.execute(CreateSchema(schema.name, if_not_exists=True))
    script = read_revisions(schema)
    with EnvironmentContext(Config(), script, fn=lambda found, _: script._upgrade_revs("head", found)) as environment:
        environment.configure(
            connection=connection,
            target_metadata=schema.metadata,
            version_table=schema.revision_table,
            version_table_schema=schema_of(connection, schema),
        )
        environment.run_migrations()
