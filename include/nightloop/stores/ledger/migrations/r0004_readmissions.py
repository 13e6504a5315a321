"""Readmissions of quarantined rows."""

import sqlalchemy as sa
from alembic import op

from nightloop.stores.ledger.migrations.r0001_first_tables import instant, string, text, token_id

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    schema = op.get_context().version_table_schema
    prefix = f"{schema}." if schema else ""
    op.create_table(
        "readmissions",
        string("scope"),
        instant("as_of"),
        string("variant"),
        string("checksum"),
        token_id("token"),
        instant("received_as_of"),
        text("rows"),
        string("actor"),
        text("why"),
        instant("recorded_wall"),
        sa.ForeignKeyConstraint(["token"], [f"{prefix}attempts.token"]),
        sa.PrimaryKeyConstraint("scope", "as_of", "variant", "checksum", "token"),
        schema=schema,
    )
