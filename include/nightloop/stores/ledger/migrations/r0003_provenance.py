"""The code version of every attempt, and the Delta version of every commit."""

import sqlalchemy as sa
from alembic import op

from nightloop.stores.ledger.migrations.r0001_first_tables import instant, number, string, token_id

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    schema = op.get_context().version_table_schema
    prefix = f"{schema}." if schema else ""
    op.add_column("attempts", string("code", nullable=True), schema=schema)
    op.create_table(
        "commits",
        string("scope"),
        instant("as_of"),
        string("variant"),
        string("dataset"),
        token_id("token"),
        number("version"),
        instant("recorded_wall"),
        sa.ForeignKeyConstraint(["token"], [f"{prefix}attempts.token"]),
        sa.PrimaryKeyConstraint("scope", "as_of", "variant", "dataset", "token"),
        schema=schema,
    )
