"""The warehouse's first tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    schema = op.get_context().version_table_schema
    create_datasets(schema)
    create_bookkeeping(schema)


def create_datasets(schema: str | None) -> None:
    op.create_table(
        "scores",
        string("use_case", comment="name of the use case"),
        instant("as_of", comment="logical instant of the night that wrote the row, UTC"),
        string("variant", comment="main for the night itself; others are what-if runs"),
        string("entity_key", comment="entity columns of the use case, joined by |"),
        instant("decision_time", comment="instant for which the score holds, UTC"),
        figure("score", nullable=True, comment="probability (binary, multiclass) or predicted value (regression)"),
        small(
            "decision", nullable=True, comment="1 or 0 at the threshold (binary), class (multiclass), null (regression)"
        ),
        small("model_version", comment="version of the model that scored, per use case"),
        string("feature_version", comment="version of the features that the model saw"),
        instant("loaded_wall", comment="wall time of the load, UTC"),
        sa.PrimaryKeyConstraint("use_case", "as_of", "variant", "entity_key", "decision_time"),
        schema=schema,
        comment="one row per use case, night, variant, entity and decision time",
    )
    op.create_index("scores_by_entity", "scores", ["use_case", "entity_key", "decision_time"], schema=schema)
    op.create_table(
        "outcomes",
        string("use_case", comment="name of the use case"),
        instant("as_of", comment="logical instant of the night that wrote the row, UTC"),
        string("variant", comment="main for the night itself; others are what-if runs"),
        string("entity_key", comment="entity columns of the use case, joined by |"),
        instant("decision_time", comment="instant of the decision whose outcome this is, UTC"),
        instant("cohort_as_of", comment="night in which the decision was made, UTC"),
        figure("label", nullable=True, comment="outcome; null where it cannot be observed"),
        sa.PrimaryKeyConstraint("use_case", "as_of", "variant", "entity_key", "decision_time"),
        schema=schema,
        comment="one row per matured decision; as_of is the night in which its cohort matured",
    )
    op.create_index("outcomes_by_entity", "outcomes", ["use_case", "entity_key", "decision_time"], schema=schema)
    op.create_table(
        "performance",
        string("use_case", comment="name of the use case"),
        instant("as_of", comment="logical instant of the night that wrote the row, UTC"),
        string("variant", comment="main for the night itself; others are what-if runs"),
        instant("cohort_as_of", comment="night in which the judged decisions were made, UTC"),
        small("model_version", comment="version of the judged model"),
        string("population", comment="rows that the metric is taken over"),
        string("metric", comment="name of the metric"),
        figure("value", nullable=True, comment="value of the metric; null where it is not defined"),
        number("row_count", comment="rows that the metric is taken over"),
        sa.PrimaryKeyConstraint(
            "use_case", "as_of", "variant", "cohort_as_of", "model_version", "population", "metric"
        ),
        schema=schema,
        comment="one row per measuring night, cohort, model version, population and metric",
    )
    op.create_table(
        "drift_verdicts",
        string("use_case", comment="name of the use case"),
        instant("as_of", comment="logical instant of the night that wrote the row, UTC"),
        string("variant", comment="main for the night itself; others are what-if runs"),
        string("answer", comment="nothing, investigate, wait or retrain"),
        text("reason", comment="why, in one sentence"),
        text("columns", comment="columns that changed, joined by a comma"),
        instant("until", nullable=True, comment="night until which to wait, UTC; null for the other answers"),
        small("model_version", nullable=True, comment="champion of the night; null before the first"),
        sa.PrimaryKeyConstraint("use_case", "as_of", "variant"),
        schema=schema,
        comment="one row per night: what the drift decision answered",
    )


def create_bookkeeping(schema: str | None) -> None:
    op.create_table(
        "loads",
        string("dataset", comment="table that was loaded"),
        string("use_case", comment="name of the use case"),
        instant("as_of", comment="logical instant of the night that wrote the row, UTC"),
        string("variant", comment="main for the night itself; others are what-if runs"),
        number("token", comment="fencing token of the attempt; a lower one is refused"),
        number("row_count", comment="rows of the load"),
        instant("loaded_wall", comment="wall time of the load, UTC"),
        sa.PrimaryKeyConstraint("dataset", "use_case", "as_of", "variant"),
        schema=schema,
        comment="one row per table and run key: its last load",
    )
    op.create_table(
        "column_descriptions",
        string("relation", comment="table or view"),
        string("column_name", comment="its column; empty for the relation itself"),
        text("description", comment="what it holds"),
        sa.PrimaryKeyConstraint("relation", "column_name"),
        schema=schema,
        comment="one row per relation and column: what stands where the database keeps no comments",
    )


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
