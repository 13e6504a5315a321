"""Files of every format become the same raw rows."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from nightloop.etl.contract import check_columns
from nightloop.etl.header import read_columns
from nightloop.etl.params import Column, KnownAt, ReadParams
from nightloop.etl.read import RawFile, read_files

if TYPE_CHECKING:
    from pyspark.sql import Row, SparkSession

AS_OF = datetime(2025, 1, 2, tzinfo=UTC)
COLUMNS = {"id": Column(type="int"), "note": Column(type="string")}


def _read(spark: "SparkSession", paths: list[Path], params: ReadParams) -> "list[Row]":
    files = []
    for path in paths:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            schema = check_columns(path.name, read_columns(stream, params.format, path.name), params)
        files.append(RawFile(str(path), path.name, path.name, AS_OF, AS_OF, AS_OF, "declared", schema))
    return read_files(spark, files, "main", params).orderBy("_file", "_row").collect()


def test_csv_files_of_two_layouts_keep_order_extras_and_broken_lines(spark: "SparkSession", tmp_path: Path) -> None:
    plain, packed = tmp_path / "a + b%20.csv", tmp_path / "c.csv.gz"
    plain.write_text('id,note\n1,"two\nlines"\n2\n3,"say ""hi"""\n')
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbfnote,extra,id\nx,9,4\n"))
    rows = _read(spark, [plain, packed], ReadParams(format="csv", columns=COLUMNS))
    assert [(row["_file"], row["_row"], row["id"], row["note"], row["_corrupt"]) for row in rows] == [
        ("a + b%20.csv", 1, "1", "two\nlines", False),
        ("a + b%20.csv", 2, None, None, True),
        ("a + b%20.csv", 3, "3", 'say "hi"', False),
        ("c.csv.gz", 1, "4", "x", False),
    ]
    assert [row["_extra"] for row in rows] == [None, None, None, '{"extra":"9"}']
    assert {row["night"] for row in rows} == {"20250102T0000Z"}


def test_json_lines(spark: "SparkSession", tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1, "note": "a", "more": {"x": 2}}\n\nnonsense\n{"id": 2.50}\n')
    rows = _read(spark, [path], ReadParams(format="jsonl", columns=COLUMNS))
    assert [(row["_row"], row["id"], row["note"], row["_corrupt"]) for row in rows] == [
        (1, "1", "a", False),
        (2, None, None, True),
        (3, "2.5", None, False),
    ]
    assert json.loads(json.loads(rows[0]["_extra"])["more"]) == {"x": 2}


def test_parquet(spark: "SparkSession", tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": pa.array([1, 2], pa.int32()), "note": ["a", None], "new": [1.5, 2.5]}), path)
    rows = _read(spark, [path], ReadParams(format="parquet", columns=COLUMNS))
    assert [(row["id"], row["note"], row["_extra"]) for row in rows] == [
        ("1", "a", '{"new":"1.5"}'),
        ("2", None, '{"new":"2.5"}'),
    ]


def test_parquet_files_of_a_widened_column_are_read_together(spark: "SparkSession", tmp_path: Path) -> None:
    narrow, wide = tmp_path / "a.parquet", tmp_path / "b.parquet"
    pq.write_table(pa.table({"id": pa.array([1], pa.int32()), "note": ["a"]}), narrow)
    pq.write_table(pa.table({"id": pa.array([5_000_000_000], pa.int64()), "note": ["b"]}), wide)
    columns = {"id": Column(type="bigint", widened_from=("int",)), "note": Column(type="string")}
    rows = _read(spark, [narrow, wide], ReadParams(format="parquet", columns=columns))
    assert [row["id"] for row in rows] == ["1", "5000000000"]


def test_declared_month_is_known_at_its_end_but_not_before_the_file_allows(
    spark: "SparkSession", tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,note\n1,2025-01-15\n2,2024-06-01\n3,nonsense\n")
    known_at = KnownAt(by="column", column="note", truncated_to="month")
    rows = _read(spark, [path], ReadParams(format="csv", columns=COLUMNS, known_at=known_at))
    assert [(f"{row['known_at']:%Y-%m-%d}" if row["known_at"] else None, row["known_by"]) for row in rows] == [
        ("2025-02-01", "declared"),
        ("2025-01-02", "arrival"),
        (None, "declared"),
    ]
