"""From files to raw rows: every column as text, with file, row number, arrival and the instant it was known."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType
from pyspark.sql.window import Window

from nightloop.etl.contract import FileSchema
from nightloop.etl.params import KnownAt, ReadParams
from nightloop.run import format_night

PROVENANCE = ("_file", "_row", "_checksum", "_arrived_at", "known_at", "known_by", "_corrupt", "_extra")
_BROKEN = "_broken_line"
_ADDRESS = "_address"
_TRUNCATED = {"day": "INTERVAL 1 DAY", "month": "INTERVAL 1 MONTH"}


@dataclass(frozen=True, slots=True)
class RawFile:
    """One file to read: where Spark finds it, what its rows are marked with, and the columns it holds."""

    address: str
    path: str
    checksum: str
    arrived_at: datetime
    as_of: datetime
    known_at: datetime
    known_by: str
    schema: FileSchema


def read_files(
    spark: SparkSession,
    files: Sequence[RawFile],
    variant: str,
    params: ReadParams,
    treat: Callable[[DataFrame], DataFrame] = lambda rows: rows,
) -> DataFrame:
    """Return one row per line or record of the files: the contract's columns as text, provenance, night, variant.

    A line that cannot be parsed has `_corrupt` true and all its columns null. `_row` counts from 1 in file order.
    `treat` sees the rows first, before any of them is shuffled: no personal datum reaches a disk.
    """
    groups: dict[tuple[tuple[str, ...], ...], list[RawFile]] = defaultdict(list)
    for file in files:
        # Spark takes CSV columns by position and reads Parquet files by one schema: each layout is read alone
        layout = (file.schema.columns, file.schema.types)
        groups[layout if params.format != "jsonl" else ()].append(file)
    rows = treat(reduce(DataFrame.unionByName, (_read_group(spark, group, params) for group in groups.values())))
    origin = _origin_frame(spark, files, variant)
    numbered = rows.join(F.broadcast(origin), _ADDRESS).withColumn(
        "_row", F.row_number().over(Window.partitionBy("_file").orderBy("_order")).cast("bigint")
    )
    known_at, known_by = _known(params.known_at)
    marked = numbered.withColumns({"known_at": known_at, "known_by": known_by})
    kept = [name for name in params.columns if name in rows.columns]
    return marked.select(*kept, *PROVENANCE, "night", "variant")


def _read_group(spark: SparkSession, files: Sequence[RawFile], params: ReadParams) -> DataFrame:
    addresses = [file.address for file in files]
    added = sorted({name for file in files for name in file.schema.added})
    # ids rise in file order within a split; where each begins orders the splits of a file
    order = F.struct(F.col("_metadata.file_block_start"), F.monotonically_increasing_id())
    keep = [order.alias("_order"), _decoded_address().alias(_ADDRESS)]
    if params.format == "csv":
        rows = _read_csv(spark, addresses, files[0].schema.columns).select("*", *keep)
        is_corrupt = F.col(_BROKEN).isNotNull()
    elif params.format == "jsonl":
        rows = _read_json_lines(spark, addresses, params, keep)
        is_corrupt = F.col("_record").isNull()
    else:
        rows = spark.read.parquet(*addresses).select("*", *keep)
        is_corrupt = F.lit(False)
    columns = [_text(F.col(f"`{name}`"), is_corrupt).alias(name) for name in params.columns]
    if params.format == "jsonl":
        extra = F.to_json(F.map_filter("_record", lambda key, _: ~key.isin(*params.columns, *params.ignored_columns)))
        extra = F.when(extra != "{}", extra)
    else:
        extra = F.to_json(F.struct(*(F.col(f"`{name}`").cast("string").alias(name) for name in added)))
    empty = F.lit(None).cast("string")
    aside = F.when(~is_corrupt, extra) if added or params.format == "jsonl" else empty
    return rows.select(*columns, is_corrupt.alias("_corrupt"), aside.alias("_extra"), "_order", _ADDRESS)


def _read_csv(spark: SparkSession, addresses: list[str], columns: Sequence[str]) -> DataFrame:
    schema = StructType([StructField(name, StringType()) for name in (*columns, _BROKEN)])
    # quotes within fields are doubled (RFC 4180); Spark's default is a backslash before them
    options = {"header": "true", "multiLine": "true", "escape": '"', "columnNameOfCorruptRecord": _BROKEN}
    return spark.read.schema(schema).options(**options).csv(addresses)


def _read_json_lines(spark: SparkSession, addresses: list[str], params: ReadParams, keep: list[Column]) -> DataFrame:
    lines = spark.read.text(addresses).where(F.trim("value") != "").select("value", *keep)
    # a map and no schema, for `_extra` keeps what no contract names
    records = lines.withColumn("_record", F.from_json("value", "map<string,string>"))
    return records.select("*", *(F.col("_record")[name].alias(name) for name in params.columns))


def _text(value: Column, is_corrupt: Column) -> Column:
    # Spark fills what it can of a ragged line: half a record must not pass for one
    return F.when(~is_corrupt, value.cast("string"))


def _decoded_address() -> Column:
    """Spark gives a file's address as an escaped URI; return it as it was asked for."""
    # a `+` stands in the URI as it is, and decoding would make it a blank
    plain = F.url_decode(F.replace(F.col("_metadata.file_path"), F.lit("+"), F.lit("%2B")))
    return F.regexp_replace(plain, "^file:/+", "/")


def _origin_frame(spark: SparkSession, files: Sequence[RawFile], variant: str) -> DataFrame:
    rows = [
        (f.address, f.path, f.checksum, f.arrived_at, f.known_at, f.known_by, format_night(f.as_of), f.as_of, variant)
        for f in files
    ]
    schema = (
        f"{_ADDRESS} string, _file string, _checksum string, _arrived_at timestamp, _file_known_at timestamp, "
        "_file_known_by string, night string, _as_of timestamp, variant string"
    )
    return spark.createDataFrame(rows, schema)


def _known(params: KnownAt) -> tuple[Column, Column]:
    """A row is known when its file says so; a declared column is believed, but not before the file's own bound."""
    of_file, by_file = F.col("_file_known_at"), F.col("_file_known_by")
    if params.by != "column" or params.column is None:
        return of_file, by_file
    declared = F.try_to_timestamp(F.col(f"`{params.column}`"))
    if params.truncated_to is not None:
        declared = F.date_trunc(params.truncated_to, declared) + F.expr(_TRUNCATED[params.truncated_to])
    # null where the declared text is no instant: `known_at` stays null, and `required:known_at` sets the row aside
    is_arrival = (by_file == "arrival") | (declared < of_file)
    return F.when(is_arrival, of_file).otherwise(declared), F.when(is_arrival, "arrival").otherwise("declared")
