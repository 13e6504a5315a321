"""The one frame that `clean_source` stages: etl, the folder's clean.sql and the row rules of its suite together."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nightloop.asof.views import run_sql
from nightloop.etl.clean import (
    CARRIED,
    GOOD,
    OUTCOME,
    carry_origin,
    classify_versions,
    count_outcomes,
    finish_cleaned,
    join_outcomes,
    mark_violations,
    select_quarantined,
)
from nightloop.etl.typing import TYPED, empty_raw, type_rows, type_rules, typed_columns
from nightloop.feature_definition import describe_cleaning, name_cleaning
from nightloop.quality.rules import compile_row_rules, split_suite
from nightloop.run import Replay
from nightloop.source import Source

if TYPE_CHECKING:
    from nightloop.stores.ledger import Ledger


def build_outcomes(spark: SparkSession, received: DataFrame | None, source: Source) -> DataFrame:
    """Return every raw row once with `_outcome`; `clean`, `typed` and `aside` hold what is published of it.

    The suite's row rules apply to the typed raw rows; those that name a column which only clean.sql makes, after it.

    Raises:
        NightloopError: the suite or clean.sql is wrong.
    """
    treated = {name: treatment.treatment for name, treatment in source.pii.items()}
    columns = typed_columns(source.read, treated)
    raw = empty_raw(spark, source.read, treated) if received is None else received
    before, after = split_suite(source.suite, columns)
    marked = mark_violations(type_rows(raw, columns), [*type_rules(columns, source.keys), *compile_row_rules(before)])
    good = marked.where(F.size("_rules") == 0).drop("_rules")
    cleaned = run_sql(carry_origin(source.clean_sql), {"raw": good}, "clean.sql")
    aside = select_quarantined(marked)
    if rules := compile_row_rules(after):
        checked = mark_violations(_beside_typed(cleaned, list(columns)), rules)
        aside = aside.unionByName(select_quarantined(checked, CARRIED))
        cleaned = checked.where(F.size("_rules") == 0).select(*cleaned.columns)
    return join_outcomes(classify_versions(finish_cleaned(cleaned, source.keys), source.keys), aside)


def _beside_typed(cleaned: DataFrame, columns: Sequence[str]) -> DataFrame:
    """Add the typed columns that clean.sql did not select, so that a rule may name both kinds."""
    unselected = [name for name in columns if name not in cleaned.columns]
    return cleaned.select("*", *(F.col(f"{CARRIED}.{TYPED}.{name}").alias(name) for name in unselected))


def count_rows(staged: DataFrame, received: DataFrame | None, nights: Sequence[str]) -> dict[str, dict[str, int]]:
    """Count received rows in raw and every outcome in the staged frame, in one job; the law between them is asserted.

    Raises:
        NightloopError: received = good + quarantined + duplicate + superseded does not hold.
    """
    outcomes = staged.groupBy("night", F.col(OUTCOME).alias("outcome")).count()
    if received is not None:
        arrived = received.groupBy("night").count().select("night", F.lit("received").alias("outcome"), "count")
        outcomes = outcomes.unionByName(arrived)
    return count_outcomes([(row["night"], row["outcome"], row["count"]) for row in outcomes.collect()], nights)


def select_clean(staged: DataFrame) -> DataFrame:
    """Return the rows to publish under `clean`."""
    return staged.where(F.col(OUTCOME) == GOOD).select("clean.*")


def select_typed(staged: DataFrame) -> DataFrame:
    """Return the good rows as the suite judges them: typed raw columns, and those that clean.sql adds."""
    rows = staged.where(F.col(OUTCOME) == GOOD)
    typed, clean = rows.select("typed.*").columns, rows.select("clean.*").columns
    return rows.select("typed.*", *(F.col(f"clean.`{name}`").alias(name) for name in clean if name not in typed))


def record_cleaning(
    ledger: "Ledger", source: Source, replay: Replay, token: int, counts: Mapping[str, Mapping[str, int]]
) -> None:
    """Keep how the source is cleaned now, and that the nights of a replay were cleaned so, with their good rows."""
    cleaning = describe_cleaning(source)
    version, good = name_cleaning(cleaning), {night: figures[GOOD] for night, figures in counts.items()}
    ledger.keep_definition(source.name, version, token, cleaning)
    ledger.write_builds(replay, token, f"clean/{source.name}", version, good)
