"""Migrations of the SQL stores by Alembic: one tree of revisions per store."""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, CreateSchema
from sqlalchemy.engine import make_url

from nightloop.stores.database import StoreSchema, build_engine, is_sqlite, schema_of, writing

TREES = Path(__file__).parent


def migrate_store(url: str, schema: StoreSchema, finish: Callable[[Connection], None] | None = None) -> None:
    """Bring a store to its newest revision in one transaction; two at a time come one after the other.

    `finish` runs in the same transaction, after the last revision.

    Raises:
        TransientError: the database is locked or does not answer.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = build_engine(url, schema)
    try:
        with writing(engine, f"migrate/{schema.name}") as connection:
            if not is_sqlite(connection):
                connection.execute(CreateSchema(schema.name, if_not_exists=True))
            _upgrade(connection, schema)
            if finish is not None:
                finish(connection)
    finally:
        engine.dispose()


def _upgrade(connection: Connection, schema: StoreSchema) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(TREES), version_locations=[str(TREES / schema.name)])
    environment = EnvironmentContext(Config(), script, fn=lambda found, _: script._upgrade_revs("head", found))
    with environment:
        environment.configure(
            connection=connection,
            target_metadata=schema.metadata,
            version_table=schema.revision_table,
            version_table_schema=schema_of(connection, schema),
        )
        environment.run_migrations()
