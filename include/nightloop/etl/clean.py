"""Split one replay's raw rows into good, quarantined, duplicate and superseded, each counted once."""

import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window, WindowSpec
from sqlglot import Tokenizer, TokenType

from nightloop.etl.typing import ORIGIN, TYPED, Rule
from nightloop.fault import Fault, NightloopError

CARRIED = "_nightloop_origin"
OUTCOME = "_outcome"
GOOD, QUARANTINED, DUPLICATE, SUPERSEDED = "good", "quarantined", "duplicate", "superseded"
INCOMES = ("received", "readmitted")
OUTCOMES = (GOOD, QUARANTINED, DUPLICATE, SUPERSEDED)
PROVENANCE = ("known_at", "known_by", "_file", "_row", "night", "variant")
FIRST_KNOWN = "_first_known_at"  # equals known_at, but of a row that was readmitted
_PLACE = ("_file", "_row", "_offset", "_length", "_checksum")
_SET_ASIDE = {*_PLACE, "night", "variant", "_corrupt", FIRST_KNOWN, TYPED}


def mark_violations(typed: DataFrame, rules: Sequence[Rule]) -> DataFrame:
    """Add `_rules`: the names of the rules that the row breaks, empty for a good one."""
    broken = [F.when(F.coalesce(is_violated, F.lit(False)), F.lit(name)) for name, is_violated in rules]
    return typed.withColumn("_rules", F.array_compact(F.array(*broken)))


def select_quarantined(marked: DataFrame, origin: str = ORIGIN) -> DataFrame:
    """Return the rows set aside: origin, rules, and the treated raw row as JSON (null when it did not parse).

    `_row` counts the records of the file from 1; a line that did not parse has the bytes it takes, `_offset` from 0.
    """
    content = F.to_json(_raw_content(marked, origin))
    return marked.where(F.size("_rules") > 0).select(
        *(F.col(f"{origin}.{name}").alias(name) for name in _PLACE),
        F.col("_rules").alias("rules"),
        F.when(~F.col(f"{origin}._corrupt"), content).alias("content"),
        *(F.col(f"{origin}.{name}").alias(name) for name in ("night", "variant")),
    )


def carry_origin(clean_sql: str) -> str:
    """Add the row's origin to what clean.sql selects, whatever it selects.

    >>> carry_origin("SELECT id FROM raw")
    'SELECT id , _origin AS _nightloop_origin FROM raw'

    Raises:
        NightloopError: there is no FROM at the top of the query.
    """
    depth = 0
    for token in Tokenizer(dialect="spark").tokenize(clean_sql):
        depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(token.token_type, 0)
        # functions have a FROM of their own, in brackets: `extract(year FROM day)`
        if token.token_type == TokenType.FROM and depth == 0:
            return f"{clean_sql[: token.start]}, {ORIGIN} AS {CARRIED} {clean_sql[token.start :]}"
    raise NightloopError(Fault("clean.sql", "SELECT … FROM raw", "no FROM", "write one SELECT over `raw`"))


def finish_cleaned(cleaned: DataFrame, keys: Sequence[str]) -> DataFrame:
    """Give clean.sql's result its provenance back: its columns, then known_at, known_by, _file, _row, night, variant.

    `_typed` holds the typed raw row, for the suite that is judged on it.

    Raises:
        NightloopError: a key column is not selected.
    """
    # `known_at` comes back from the origin: clean.sql cannot date a row otherwise
    own = [name for name in cleaned.columns if name not in {CARRIED, ORIGIN, "known_at"}]
    missing = [key for key in keys if key not in own]
    if missing:
        raise NightloopError(Fault("columns of clean.sql", ", ".join(keys), ", ".join(own), "select the key columns"))
    carried = [F.col(f"{CARRIED}.{name}").alias(name) for name in (*PROVENANCE, FIRST_KNOWN, TYPED)]
    return cleaned.select(*own, *carried)


def classify_versions(cleaned: DataFrame, keys: Sequence[str]) -> DataFrame:
    """Add `_outcome` within each night: of versions of one record known at one instant the last wins.

    A row equal to the one that won, or to the version before it, is a duplicate and not a version; another one is
    superseded.
    """
    # `_`, so that it has a field where a record is nothing but its keys
    content = F.struct(
        *(name for name in cleaned.columns if name not in {*PROVENANCE, FIRST_KNOWN, *keys, TYPED}), F.lit(0).alias("_")
    )
    record = Window.partitionBy("night", "variant", *keys)
    at_once = record.partitionBy("night", "variant", *keys, "known_at").orderBy(FIRST_KNOWN, "_file", "_row")
    order: WindowSpec = record.orderBy("known_at", FIRST_KNOWN, "_file", "_row")
    whole = at_once.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    marked = cleaned.withColumns({"_content": content, "_next": F.lead("known_at").over(order)}).withColumn(
        "_wins", F.col("_next").isNull() | (F.col("_next") != F.col("known_at"))
    )
    # null for losers: a version is compared with one that stood, not with one that never did
    winning = F.when(F.col("_wins"), F.col("_content"))
    before = F.last(winning, ignorenulls=True).over(order.rowsBetween(Window.unboundedPreceding, -1))
    compared = marked.withColumns({"_winner": F.last("_content").over(whole), "_before": before})
    outcome = (
        F.when(~F.col("_wins"), _either(F.col("_content").eqNullSafe(F.col("_winner")), DUPLICATE, SUPERSEDED))
        .when(F.col("_before").isNotNull() & F.col("_content").eqNullSafe(F.col("_before")), F.lit(DUPLICATE))
        .otherwise(F.lit(GOOD))
    )
    return compared.withColumn(OUTCOME, outcome).drop("_content", "_next", "_wins", "_winner", "_before")


def join_outcomes(classified: DataFrame, quarantined: DataFrame) -> DataFrame:
    """Return all outcomes in one frame, to be written and counted in one pass: `clean`, `typed`, `aside`."""
    own = [name for name in classified.columns if name not in {OUTCOME, FIRST_KNOWN, TYPED}]
    clean = classified.select(OUTCOME, "night", "variant", F.struct(*own).alias("clean"), F.col(TYPED).alias("typed"))
    aside = quarantined.select(
        F.lit(QUARANTINED).alias(OUTCOME), "night", "variant", F.struct(*quarantined.columns).alias("aside")
    )
    return clean.unionByName(aside, allowMissingColumns=True)


def count_outcomes(rows: Iterable[tuple[str, str, int]], nights: Sequence[str]) -> dict[str, dict[str, int]]:
    """Turn (night, outcome, rows) into counts per night, every outcome named.

    Raises:
        NightloopError: received + readmitted = good + quarantined + duplicate + superseded does not hold in a night.
    """
    counts = {night: dict.fromkeys((*INCOMES, *OUTCOMES), 0) for night in nights}
    for night, outcome, number in rows:
        counts[night][outcome] += number
    faults = [
        Fault(
            f"rows of night {night}",
            f"received {figures['received']} + readmitted {figures['readmitted']} = {' + '.join(OUTCOMES)}",
            " + ".join(f"{figures[outcome]} {outcome}" for outcome in OUTCOMES),
            "clean.sql must return each row of `raw` once; set rows aside by a `quarantine` expectation instead",
        )
        for night, figures in counts.items()
        if sum(figures[income] for income in INCOMES) != sum(figures[outcome] for outcome in OUTCOMES)
    ]
    if faults:
        raise NightloopError(faults)
    return counts


def over_budget(counts: Mapping[str, Mapping[str, int]], rows: int | None, ratio: float) -> list[Fault]:
    """Name the nights in which more rows were set aside than the source's budget allows."""
    faults = []
    for night, figures in counts.items():
        share = math.floor(figures["received"] * Fraction(str(ratio)))  # exact: 0.29 * 100 is less than 29 in floats
        limit = share if rows is None else min(share, rows)
        if figures[QUARANTINED] > limit:
            found = f"{figures[QUARANTINED]} of {figures['received']}"
            faults.append(
                Fault(f"quarantine of night {night}", f"at most {limit} rows", found, "see the rules it names")
            )
    return faults


def _raw_content(marked: DataFrame, origin: str) -> Column:
    raw = marked.select(f"{origin}.*").columns
    return F.struct(*(F.col(f"{origin}.`{name}`").alias(name) for name in raw if name not in _SET_ASIDE))


def _either(condition: Column, yes: str, no: str) -> Column:
    return F.when(condition, F.lit(yes)).otherwise(F.lit(no))
