"""Definitions of feature versions and of cleaned sources, and from which each night's partition was built."""

import sqlalchemy as sa
from alembic import op

from nightloop.stores.ledger.migrations.r0001_first_tables import instant, number, string, text, token_id

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    schema = op.get_context().version_table_schema
    prefix = f"{schema}." if schema else ""
    op.create_table(
        "definitions",
        string("scope"),
        string("version"),
        token_id("token"),
        text("definition"),
        instant("recorded_wall"),
        sa.ForeignKeyConstraint(["token"], [f"{prefix}attempts.token"]),
        sa.PrimaryKeyConstraint("scope", "version", "token"),
        schema=schema,
    )
    op.create_table(
        "builds",
        string("scope"),
        instant("as_of"),
        string("variant"),
        string("dataset"),
        token_id("token"),
        string("version"),
        number("rows"),
        instant("recorded_wall"),
        sa.ForeignKeyConstraint(["token"], [f"{prefix}attempts.token"]),
        sa.PrimaryKeyConstraint("scope", "as_of", "variant", "dataset", "token"),
        schema=schema,
    )
