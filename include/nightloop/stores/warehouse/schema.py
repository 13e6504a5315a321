"""Tables and views of the warehouse, each column described for the analysts who read it."""

from typing import Any

from sqlalchemy import BigInteger, Column, Float, Index, Integer, MetaData, String, Table, Text

from nightloop.stores.database.columns import Instant, read_wall_clock
from nightloop.stores.database.engine import StoreSchema

metadata = MetaData(schema="warehouse")
WAREHOUSE = StoreSchema("warehouse", metadata, revision="0001")

RUN_KEY = ("use_case", "as_of", "variant")


def _run_key() -> tuple[Column[Any], ...]:
    return (
        Column("use_case", String, primary_key=True, comment="name of the use case"),
        Column("as_of", Instant, primary_key=True, comment="logical instant of the night that wrote the row, UTC"),
        Column("variant", String, primary_key=True, comment="main for the night itself; others are what-if runs"),
    )


scores = Table(
    "scores",
    metadata,
    *_run_key(),
    Column("entity_key", String, primary_key=True, comment="entity columns of the use case, joined by |"),
    Column("decision_time", Instant, primary_key=True, comment="instant for which the score holds, UTC"),
    Column("score", Float, comment="probability (binary, multiclass) or predicted value (regression)"),
    Column("decision", Integer, comment="1 or 0 at the threshold (binary), class (multiclass), null (regression)"),
    Column("model_version", Integer, nullable=False, comment="version of the model that scored, per use case"),
    Column("feature_version", String, nullable=False, comment="version of the features that the model saw"),
    Column("loaded_wall", Instant, nullable=False, comment="wall time of the load, UTC"),
    Index("scores_by_entity", "use_case", "entity_key", "decision_time"),
    comment="one row per use case, night, variant, entity and decision time",
)

outcomes = Table(
    "outcomes",
    metadata,
    *_run_key(),
    Column("entity_key", String, primary_key=True, comment="entity columns of the use case, joined by |"),
    Column("decision_time", Instant, primary_key=True, comment="instant of the decision whose outcome this is, UTC"),
    Column("cohort_as_of", Instant, nullable=False, comment="night in which the decision was made, UTC"),
    Column("label", Float, comment="outcome; null where it cannot be observed"),
    Index("outcomes_by_entity", "use_case", "entity_key", "decision_time"),
    comment="one row per matured decision; as_of is the night in which its cohort matured",
)

performance = Table(
    "performance",
    metadata,
    *_run_key(),
    Column("cohort_as_of", Instant, primary_key=True, comment="night in which the judged decisions were made, UTC"),
    Column("model_version", Integer, primary_key=True, autoincrement=False, comment="version of the judged model"),
    Column("population", String, primary_key=True, comment="rows that the metric is taken over"),
    Column("metric", String, primary_key=True, comment="name of the metric"),
    Column("value", Float, comment="value of the metric; null where it is not defined"),
    Column("row_count", BigInteger, nullable=False, comment="rows that the metric is taken over"),
    comment="one row per measuring night, cohort, model version, population and metric",
)

drift_verdicts = Table(
    "drift_verdicts",
    metadata,
    *_run_key(),
    Column("answer", String, nullable=False, comment="nothing, investigate, wait or retrain"),
    Column("reason", Text, nullable=False, comment="why, in one sentence"),
    Column("columns", Text, nullable=False, comment="columns that changed, joined by a comma"),
    Column("until", Instant, comment="night until which to wait, UTC; null for the other answers"),
    Column("model_version", Integer, comment="champion of the night; null before the first"),
    comment="one row per night: what the drift decision answered",
)

loads = Table(
    "loads",
    metadata,
    Column("dataset", String, primary_key=True, comment="table that was loaded"),
    *_run_key(),
    Column("token", BigInteger, nullable=False, comment="fencing token of the attempt; a lower one is refused"),
    Column("row_count", BigInteger, nullable=False, comment="rows of the load"),
    Column("loaded_wall", Instant, nullable=False, default=read_wall_clock, comment="wall time of the load, UTC"),
    comment="one row per table and run key: its last load",
)

column_descriptions = Table(
    "column_descriptions",
    metadata,
    Column("relation", String, primary_key=True, comment="table or view"),
    Column("column_name", String, primary_key=True, comment="its column; empty for the relation itself"),
    Column("description", Text, nullable=False, comment="what it holds"),
    comment="one row per relation and column: what stands where the database keeps no comments",
)

DATASETS = (scores, outcomes, performance, drift_verdicts)
