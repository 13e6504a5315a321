"""The one frame that `clean_source` stages: etl, the folder's clean.sql and the row rules of its suite together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from nightloop.asof.views import run_sql
from nightloop.dataset import DatasetRef
from nightloop.etl.clean import (
    CARRIED,
    FIRST_KNOWN,
    GOOD,
    INCOMES,
    OUTCOME,
    QUARANTINED,
    SUPERSEDED,
    carry_origin,
    classify_versions,
    count_outcomes,
    finish_cleaned,
    join_outcomes,
    mark_violations,
    select_quarantined,
)
from nightloop.etl.readmission import Earlier, split_stale
from nightloop.etl.typing import TYPED, empty_raw, type_rows, type_rules, typed_columns
from nightloop.folders.feature_definition import describe_cleaning, name_cleaning
from nightloop.folders.source import Source
from nightloop.loop.night.readmission import read_earlier
from nightloop.quality.rules import compile_row_rules, split_suite
from nightloop.run import Replay, format_night

if TYPE_CHECKING:
    from nightloop.stores.lake.lake import Lake
    from nightloop.stores.ledger.ledger import Ledger

_NOTHING = Earlier()
_RAW_KEY = ("_checksum", "_row", "night", "variant")


@dataclass(frozen=True)
class Staged:
    """Every raw row of a replay once, staged with its outcome, and the counts by night."""

    rows: DataFrame
    counts: Mapping[str, Mapping[str, int]]
    readmissions: int

    @property
    def total(self) -> dict[str, int]:
        """The counts of all nights together."""
        return {name: sum(night[name] for night in self.counts.values()) for name in next(iter(self.counts.values()))}


def stage_outcomes(source: Source, replay: Replay, token: int, lake: "Lake", ledger: "Ledger") -> Staged:
    """Read what came in, and what earlier nights set aside or gave back; stage every row of it with its outcome."""
    received = lake.read_or_none(DatasetRef("raw", source.name), replay.variant, nights=replay.nights)
    readmissions = ledger.readmissions(source.name, replay, replay.variant)
    earlier = read_earlier(source, replay, readmissions, lake, ledger)
    outcomes = build_outcomes(lake.spark, received, source, earlier)
    staged = lake.stage(outcomes, DatasetRef("clean", source.name), replay, token)
    counts = count_rows(staged, received, [format_night(night) for night in replay.nights], earlier)
    return Staged(staged, counts, len(readmissions))


def build_outcomes(
    spark: SparkSession, received: DataFrame | None, source: Source, earlier: Earlier = _NOTHING
) -> DataFrame:
    """Return every raw row once with `_outcome`; `clean`, `typed` and `aside` hold what is published of it.

    Rows that `earlier` keeps aside are not judged again, and those it readmits are judged like received ones. The
    suite's row rules apply to the typed raw rows; those that name a column which only clean.sql makes, after it.

    Raises:
        NightloopError: the suite or clean.sql is wrong.
    """
    treated = {name: treatment.treatment for name, treatment in source.pii.items()}
    columns = typed_columns(source.read, treated)
    raw = _rows_to_judge(empty_raw(spark, source.read, treated) if received is None else received, earlier)
    before, after = split_suite(source.suite, columns)
    marked = mark_violations(type_rows(raw, columns), [*type_rules(columns, source.keys), *compile_row_rules(before)])
    good = marked.where(F.size("_rules") == 0).drop("_rules")
    cleaned = run_sql(carry_origin(source.clean_sql), {"raw": good}, "clean.sql")
    aside = select_quarantined(marked)
    if rules := compile_row_rules(after):
        checked = mark_violations(_beside_typed(cleaned, list(columns)), rules)
        aside = aside.unionByName(select_quarantined(checked, CARRIED))
        cleaned = checked.where(F.size("_rules") == 0).select(*cleaned.columns)
    if earlier.kept is not None:
        aside = aside.unionByName(earlier.kept, allowMissingColumns=True)
    return join_outcomes(_classify(finish_cleaned(cleaned, source.keys), source, earlier), aside)


def _rows_to_judge(received: DataFrame, earlier: Earlier) -> DataFrame:
    raw = received.withColumn(FIRST_KNOWN, F.col("known_at"))
    if earlier.readmitted is not None:
        raw = raw.unionByName(earlier.readmitted, allowMissingColumns=True)
    # last: of the rows that a closed night took up again, those that it set aside stay aside as well
    if earlier.kept is not None:
        raw = raw.join(earlier.kept.select(*_RAW_KEY), list(_RAW_KEY), "left_anti")
    return raw


def _classify(cleaned: DataFrame, source: Source, earlier: Earlier) -> DataFrame:
    if earlier.readmitted is None:
        return classify_versions(cleaned, source.keys)
    others, stale = split_stale(cleaned, earlier.published, source.keys)
    return classify_versions(others, source.keys).unionByName(stale.withColumn(OUTCOME, F.lit(SUPERSEDED)))


def _beside_typed(cleaned: DataFrame, columns: Sequence[str]) -> DataFrame:
    """Add the typed columns that clean.sql did not select, so that a rule may name both kinds."""
    unselected = [name for name in columns if name not in cleaned.columns]
    return cleaned.select("*", *(F.col(f"{CARRIED}.{TYPED}.{name}").alias(name) for name in unselected))


def count_rows(
    staged: DataFrame, received: DataFrame | None, nights: Sequence[str], earlier: Earlier = _NOTHING
) -> dict[str, dict[str, int]]:
    """Count the rows that came in and every outcome in the staged frame, in one job; the law between them is asserted.

    Raises:
        NightloopError: received + readmitted = good + quarantined + duplicate + superseded does not hold.
    """
    outcomes = staged.groupBy("night", F.col(OUTCOME).alias("outcome")).count()
    for income, rows in zip(INCOMES, (received, earlier.readmitted), strict=True):
        if rows is not None:
            came = rows.groupBy("night").count().select("night", F.lit(income).alias("outcome"), "count")
            outcomes = outcomes.unionByName(came)
    return count_outcomes([(row["night"], row["outcome"], row["count"]) for row in outcomes.collect()], nights)


def select_aside(staged: DataFrame) -> DataFrame:
    """Return the rows to publish under `quarantine`."""
    return staged.where(F.col(OUTCOME) == QUARANTINED).select("aside.*")


def count_rules(aside: DataFrame) -> dict[str, int]:
    """Return how many of the quarantined rows break each rule, the commonest first."""
    found = aside.select(F.explode("rules").alias("rule")).groupBy("rule").count().collect()
    return {row["rule"]: row["count"] for row in sorted(found, key=lambda row: (-row["count"], row["rule"]))}


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
