"""The ledger's first tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    schema = op.get_context().version_table_schema
    create_runs(schema)
    create_figures(schema)
    create_decisions(schema)


def create_runs(schema: str | None) -> None:
    prefix = f"{schema}." if schema else ""
    op.create_table(
        "attempts",
        token_id("token"),
        string("scope"),
        string("variant"),
        string("job"),
        instant("first_as_of"),
        instant("last_as_of"),
        text("attempt"),
        instant("recorded_wall"),
        sa.PrimaryKeyConstraint("token"),
        schema=schema,
        sqlite_autoincrement=True,
    )
    op.create_index("attempts_by_job", "attempts", ["scope", "job", "variant"], schema=schema)
    op.create_table(
        "files",
        token_id("id"),
        string("source"),
        text("path"),
        string("checksum"),
        number("size"),
        instant("arrived_at"),
        instant("known_at", nullable=True),
        instant("as_of"),
        number("rows", nullable=True),
        token_id("token"),
        instant("recorded_wall"),
        sa.ForeignKeyConstraint(["token"], [f"{prefix}attempts.token"]),
        sa.PrimaryKeyConstraint("id"),
        schema=schema,
        sqlite_autoincrement=True,
    )
    op.create_index("files_by_checksum", "files", ["source", "checksum"], schema=schema)
    op.create_index("files_by_night", "files", ["source", "as_of"], schema=schema)
    op.create_table(
        "closed_nights",
        string("scope"),
        instant("as_of"),
        string("variant"),
        instant("known_to"),
        token_id("token"),
        instant("recorded_wall"),
        sa.ForeignKeyConstraint(["token"], [f"{prefix}attempts.token"]),
        sa.PrimaryKeyConstraint("scope", "as_of", "variant"),
        schema=schema,
    )


def create_figures(schema: str | None) -> None:
    prefix = f"{schema}." if schema else ""
    op.create_table(
        "counts",
        string("scope"),
        instant("as_of"),
        string("variant"),
        string("job"),
        token_id("token"),
        string("name"),
        number("count"),
        instant("recorded_wall"),
        sa.ForeignKeyConstraint(["token"], [f"{prefix}attempts.token"]),
        sa.PrimaryKeyConstraint("scope", "as_of", "variant", "job", "token", "name"),
        schema=schema,
    )
    op.create_table(
        "checks",
        string("scope"),
        instant("as_of"),
        string("variant"),
        string("dataset"),
        token_id("token"),
        small("position"),
        string("name"),
        string("outcome"),
        figure("figure", nullable=True),
        figure("limit", nullable=True),
        text("detail"),
        instant("recorded_wall"),
        sa.ForeignKeyConstraint(["token"], [f"{prefix}attempts.token"]),
        sa.PrimaryKeyConstraint("scope", "as_of", "variant", "dataset", "token", "position", "name"),
        schema=schema,
    )
    op.create_table(
        "profiles",
        string("scope"),
        instant("as_of"),
        string("variant"),
        string("dataset"),
        string("column"),
        token_id("token"),
        string("kind"),
        number("rows"),
        number("missing"),
        text("edges"),
        text("counts"),
        instant("recorded_wall"),
        sa.ForeignKeyConstraint(["token"], [f"{prefix}attempts.token"]),
        sa.PrimaryKeyConstraint("scope", "as_of", "variant", "dataset", "column", "token"),
        schema=schema,
    )
    op.create_table(
        "bins",
        string("scope"),
        string("feature_version"),
        text("edges"),
        instant("recorded_wall"),
        sa.PrimaryKeyConstraint("scope", "feature_version"),
        schema=schema,
    )
    op.create_table(
        "metrics",
        string("scope"),
        instant("as_of"),
        string("variant"),
        string("job"),
        token_id("token"),
        instant("cohort_as_of"),
        small("model_version"),
        string("population"),
        string("metric"),
        figure("value", nullable=True),
        number("rows"),
        number("positives", nullable=True),
        instant("recorded_wall"),
        sa.ForeignKeyConstraint(["token"], [f"{prefix}attempts.token"]),
        sa.PrimaryKeyConstraint(
            "scope", "as_of", "variant", "token", "cohort_as_of", "model_version", "population", "metric"
        ),
        schema=schema,
    )
    op.create_table(
        "maturity",
        string("scope"),
        instant("as_of"),
        string("variant"),
        string("job"),
        token_id("token"),
        instant("cohort_as_of"),
        instant("matures_at"),
        number("rows"),
        number("observed"),
        instant("recorded_wall"),
        sa.ForeignKeyConstraint(["token"], [f"{prefix}attempts.token"]),
        sa.PrimaryKeyConstraint("scope", "as_of", "variant", "token", "cohort_as_of"),
        schema=schema,
    )


def create_decisions(schema: str | None) -> None:
    prefix = f"{schema}." if schema else ""
    op.create_table(
        "verdicts",
        string("scope"),
        instant("as_of"),
        string("variant"),
        string("kind"),
        string("subject"),
        token_id("token"),
        string("answer"),
        text("reason"),
        text("columns"),
        text("facts"),
        text("checks"),
        instant("recorded_wall"),
        sa.ForeignKeyConstraint(["token"], [f"{prefix}attempts.token"]),
        sa.PrimaryKeyConstraint("scope", "as_of", "variant", "kind", "subject", "token"),
        schema=schema,
    )
    op.create_table(
        "answers",
        string("scope"),
        instant("as_of"),
        string("answered_by"),
        string("outcome"),
        instant("recorded_wall"),
        sa.PrimaryKeyConstraint("scope", "as_of"),
        schema=schema,
    )
    op.create_table(
        "models",
        string("scope"),
        small("version"),
        string("digest"),
        text("uri"),
        text("recipe"),
        string("feature_version"),
        instant("as_of"),
        text("pins"),
        text("metrics"),
        instant("recorded_wall"),
        sa.PrimaryKeyConstraint("scope", "version"),
        sa.UniqueConstraint("scope", "digest", name="models_once"),
        schema=schema,
    )
    op.create_table(
        "champion_changes",
        token_id("id"),
        string("scope"),
        small("version"),
        small("from_version", nullable=True),
        instant("decided_as_of"),
        string("decided_by"),
        text("why"),
        instant("recorded_wall"),
        sa.ForeignKeyConstraint(["scope", "version"], [f"{prefix}models.scope", f"{prefix}models.version"]),
        sa.PrimaryKeyConstraint("id"),
        schema=schema,
        sqlite_autoincrement=True,
    )
    op.create_index("champion_changes_in_order", "champion_changes", ["scope", "decided_as_of", "id"], schema=schema)
    op.create_table(
        "audit",
        token_id("id"),
        string("scope"),
        string("action"),
        string("actor"),
        text("why"),
        text("from"),
        text("to"),
        instant("as_of"),
        instant("recorded_wall"),
        sa.PrimaryKeyConstraint("id"),
        schema=schema,
        sqlite_autoincrement=True,
    )
    op.create_index("audit_of_scope", "audit", ["scope", "as_of"], schema=schema)


def instant(name: str, *, nullable: bool = False, comment: str | None = None) -> "sa.Column[Any]":
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, comment=comment)


def string(name: str, *, nullable: bool = False, comment: str | None = None) -> "sa.Column[Any]":
    return sa.Column(name, sa.String(), nullable=nullable, comment=comment)


def text(name: str, *, nullable: bool = False, comment: str | None = None) -> "sa.Column[Any]":
    return sa.Column(name, sa.Text(), nullable=nullable, comment=comment)


def number(name: str, *, nullable: bool = False, comment: str | None = None) -> "sa.Column[Any]":
    return sa.Column(name, sa.BigInteger(), nullable=nullable, comment=comment)


def figure(name: str, *, nullable: bool = False, comment: str | None = None) -> "sa.Column[Any]":
    return sa.Column(name, sa.Float(), nullable=nullable, comment=comment)


def small(name: str, *, nullable: bool = False, comment: str | None = None) -> "sa.Column[Any]":
    return sa.Column(name, sa.Integer(), nullable=nullable, comment=comment, autoincrement=False)


def token_id(name: str, *, nullable: bool = False, comment: str | None = None) -> "sa.Column[Any]":
    return sa.Column(name, sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=nullable, comment=comment)
