"""Tables of the ledger. Rows are only ever appended; of one key those of the highest token are current."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from nightloop.stores.database.columns import Document, Instant, read_wall_clock
from nightloop.stores.database.engine import StoreSchema

metadata = MetaData(schema="ledger")
LEDGER = StoreSchema("ledger", metadata, revision="0004")

_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up by itself for INTEGER alone


def _run_key(*, is_key: bool = True) -> tuple[Column[Any], ...]:
    return (
        Column("scope", String, primary_key=is_key, nullable=False),
        Column("as_of", Instant, primary_key=is_key, nullable=False),
        Column("variant", String, primary_key=is_key, nullable=False),
    )


def _token(*, is_key: bool = True) -> Column[Any]:
    return Column("token", _Id, ForeignKey("ledger.attempts.token"), primary_key=is_key, nullable=False)


def _recorded() -> Column[Any]:
    return Column("recorded_wall", Instant, nullable=False, default=read_wall_clock)


attempts = Table(
    "attempts",
    metadata,
    Column("token", _Id, primary_key=True, autoincrement=True),
    Column("scope", String, nullable=False),
    Column("variant", String, nullable=False),
    Column("job", String, nullable=False),
    Column("first_as_of", Instant, nullable=False),
    Column("last_as_of", Instant, nullable=False),
    Column("attempt", Text, nullable=False),
    Column("code", String),
    _recorded(),
    Index("attempts_by_job", "scope", "job", "variant"),
    sqlite_autoincrement=True,
)

files = Table(
    "files",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("source", String, nullable=False),
    Column("path", Text, nullable=False),
    Column("checksum", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("arrived_at", Instant, nullable=False),
    Column("known_at", Instant),
    Column("as_of", Instant, nullable=False),
    Column("rows", BigInteger),
    _token(is_key=False),
    _recorded(),
    Index("files_by_checksum", "source", "checksum"),
    Index("files_by_night", "source", "as_of"),
    sqlite_autoincrement=True,
)

closed_nights = Table(
    "closed_nights",
    metadata,
    *_run_key(),
    Column("known_to", Instant, nullable=False),
    _token(is_key=False),
    _recorded(),
)

commits = Table(
    "commits",
    metadata,
    *_run_key(),
    Column("dataset", String, primary_key=True),
    _token(),
    Column("version", BigInteger, nullable=False),
    _recorded(),
)

readmissions = Table(
    "readmissions",
    metadata,
    *_run_key(),
    Column("checksum", String, primary_key=True),
    _token(),
    Column("received_as_of", Instant, nullable=False),
    Column("rows", Document, nullable=False),
    Column("actor", String, nullable=False),
    Column("why", Text, nullable=False),
    _recorded(),
)

counts = Table(
    "counts",
    metadata,
    *_run_key(),
    Column("job", String, primary_key=True),
    _token(),
    Column("name", String, primary_key=True),
    Column("count", BigInteger, nullable=False),
    _recorded(),
)

checks = Table(
    "checks",
    metadata,
    *_run_key(),
    Column("dataset", String, primary_key=True),
    _token(),
    Column("position", Integer, primary_key=True),
    Column("name", String, primary_key=True),
    Column("outcome", String, nullable=False),
    Column("figure", Float),
    Column("limit", Float),
    Column("detail", Text, nullable=False),
    _recorded(),
)

profiles = Table(
    "profiles",
    metadata,
    *_run_key(),
    Column("dataset", String, primary_key=True),
    Column("column", String, primary_key=True),
    _token(),
    Column("kind", String, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("missing", BigInteger, nullable=False),
    Column("edges", Document, nullable=False),
    Column("counts", Document, nullable=False),
    _recorded(),
)

definitions = Table(
    "definitions",
    metadata,
    Column("scope", String, primary_key=True),
    Column("version", String, primary_key=True),
    _token(),
    Column("definition", Document, nullable=False),
    _recorded(),
)

builds = Table(
    "builds",
    metadata,
    *_run_key(),
    Column("dataset", String, primary_key=True),
    _token(),
    Column("version", String, nullable=False),
    Column("rows", BigInteger, nullable=False),
    _recorded(),
)

bins = Table(
    "bins",
    metadata,
    Column("scope", String, primary_key=True),
    Column("feature_version", String, primary_key=True),
    Column("edges", Document, nullable=False),
    _recorded(),
)

metrics = Table(
    "metrics",
    metadata,
    *_run_key(),
    Column("job", String, nullable=False),
    _token(),
    Column("cohort_as_of", Instant, primary_key=True),
    Column("model_version", Integer, primary_key=True, autoincrement=False),
    Column("population", String, primary_key=True),
    Column("metric", String, primary_key=True),
    Column("value", Float),
    Column("rows", BigInteger, nullable=False),
    Column("positives", BigInteger),
    _recorded(),
)

maturity = Table(
    "maturity",
    metadata,
    *_run_key(),
    Column("job", String, nullable=False),
    _token(),
    Column("cohort_as_of", Instant, primary_key=True),
    Column("matures_at", Instant, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("observed", BigInteger, nullable=False),
    _recorded(),
)

verdicts = Table(
    "verdicts",
    metadata,
    *_run_key(),
    Column("kind", String, primary_key=True),
    Column("subject", String, primary_key=True),
    _token(),
    Column("answer", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("columns", Document, nullable=False),
    Column("facts", Document, nullable=False),
    Column("checks", Document, nullable=False),
    _recorded(),
)

answers = Table(
    "answers",
    metadata,
    Column("scope", String, primary_key=True),
    Column("as_of", Instant, primary_key=True),
    Column("answered_by", String, nullable=False),
    Column("outcome", String, nullable=False),
    _recorded(),
)

models = Table(
    "models",
    metadata,
    Column("scope", String, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", String, nullable=False),
    Column("uri", Text, nullable=False),
    Column("recipe", Document, nullable=False),
    Column("feature_version", String, nullable=False),
    Column("as_of", Instant, nullable=False),
    Column("pins", Document, nullable=False),
    Column("metrics", Document, nullable=False),
    _recorded(),
    UniqueConstraint("scope", "digest", name="models_once"),
)

champion_changes = Table(
    "champion_changes",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("scope", String, nullable=False),
    Column("version", Integer, nullable=False),
    Column("from_version", Integer),
    Column("decided_as_of", Instant, nullable=False),
    Column("decided_by", String, nullable=False),
    Column("why", Text, nullable=False),
    _recorded(),
    ForeignKeyConstraint(["scope", "version"], ["ledger.models.scope", "ledger.models.version"]),
    Index("champion_changes_in_order", "scope", "decided_as_of", "id"),
    sqlite_autoincrement=True,
)

audit = Table(
    "audit",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("scope", String, nullable=False),
    Column("action", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("why", Text, nullable=False),
    Column("from", Text, nullable=False),
    Column("to", Text, nullable=False),
    Column("as_of", Instant, nullable=False),
    _recorded(),
    Index("audit_of_scope", "scope", "as_of"),
    sqlite_autoincrement=True,
)
