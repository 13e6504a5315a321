"""From raw text to typed rows, and the rules that typing itself sets."""

from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from nightloop.etl.params import Column as ColumnParams
from nightloop.etl.params import ReadParams

Rule = tuple[str, Column]

ORIGIN = "_origin"
TYPED = "_typed"
_RAW_PROVENANCE = (
    "_file string, _row bigint, _checksum string, _arrived_at timestamp, known_at timestamp, known_by string, "
    "_corrupt boolean, _extra string, _offset bigint, _length bigint, night string, variant string"
)
# a month as `known_at` counts as its end, which may lie so far ahead of the night that brings it
_FUTURE = "INTERVAL 31 DAYS"


def typed_columns(params: ReadParams, treated: Mapping[str, str]) -> dict[str, ColumnParams]:
    """Return the columns that clean.sql sees: treated personal data is text, and dropped columns are gone."""
    return {
        name: column.model_copy(update={"type": "string"}) if name in treated else column
        for name, column in params.columns.items()
        if treated.get(name) != "drop"
    }


def type_rows(raw: DataFrame, columns: Mapping[str, ColumnParams]) -> DataFrame:
    """Cast every column with `try_cast`; text that does not parse, NaN and infinity become null.

    Beside the typed columns stand `known_at` and `_origin`: the raw row as it was, for rules and provenance.
    """
    typed = [_cast(name, column).alias(name) for name, column in columns.items()]
    origin = F.struct("*", F.struct(*typed).alias(TYPED)).alias(ORIGIN)
    return raw.select(*typed, *([] if "known_at" in columns else ["known_at"]), origin)


def empty_raw(spark: SparkSession, params: ReadParams, treated: Mapping[str, str]) -> DataFrame:
    """Return raw rows of a source that has received none, so that its tables exist from its first night on."""
    texts = [f"`{name}` string" for name in params.columns if treated.get(name) != "drop"]
    return spark.createDataFrame([], ", ".join([*texts, _RAW_PROVENANCE]))


def type_rules(columns: Mapping[str, ColumnParams], keys: Sequence[str]) -> list[Rule]:
    """Return (name, is violated) for lines that did not parse, casts that failed and required values that are null."""
    # a line that did not parse has nulls throughout: it shall break `corrupt` alone
    is_whole = ~F.col(f"{ORIGIN}._corrupt")
    rules: list[Rule] = [("corrupt", ~is_whole)]
    for name, column in columns.items():
        received = F.trim(F.col(f"{ORIGIN}.`{name}`"))
        if column.type != "string":
            rules.append((f"type:{name}", F.col(name).isNull() & (received != "")))
        if column.required or name in keys:
            rules.append((f"required:{name}", is_whole & (received.isNull() | (received == ""))))
    known_at, night = F.col(f"{ORIGIN}.known_at"), F.to_timestamp(f"{ORIGIN}.night", "yyyyMMdd'T'HHmmX")
    rules.append(("required:known_at", is_whole & known_at.isNull()))
    rules.append(("known_at:future", known_at > night + F.expr(_FUTURE)))
    return rules


def _cast(name: str, column: ColumnParams) -> Column:
    received = F.col(f"`{name}`")
    if column.type == "string":
        return received
    # Spark is in ANSI mode: a plain cast would end the query at the first wrong text
    value = F.trim(received).try_cast(column.type)
    if column.type == "double":
        return F.when(~F.isnan(value) & (F.abs(value) != float("inf")), value)
    return value
