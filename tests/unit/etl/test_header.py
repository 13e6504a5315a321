"""The columns of files: names, types and first texts."""

import gzip
import io
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightloop.etl.header import FoundColumn, name_type, read_columns
from nightloop.fault import NightloopError


def _names(found: tuple[FoundColumn, ...]) -> list[str]:
    return [column.name for column in found]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"id,note\n1,a\n", id="plain"),
        pytest.param(b"\xef\xbb\xbfid,note\r\n1,a\r\n", id="byte order mark"),
        pytest.param(b'"id","note"\n', id="quoted, no rows"),
        pytest.param(b'id,note\n1,"a\nb"\n2\n3,%s\n' % (b"x" * 200_000), id="broken and endless lines"),
    ],
)
def test_header_is_read(content: bytes) -> None:
    assert _names(read_columns(io.BytesIO(content), "csv", "f")) == ["id", "note"]


def test_first_texts_of_a_csv_are_kept_without_blanks_and_ragged_lines() -> None:
    found = read_columns(io.BytesIO(b"id,note\n1,a\n2\n 3 ,\n"), "csv", "f")
    assert [column.texts for column in found] == [("1", "3"), ("a",)]


def test_keys_of_json_lines_are_gathered() -> None:
    lines = io.BytesIO(b'{"id": 1}\nnonsense\n[1]\n{"id": 2.5, "new": true, "more": {"x": 1}, "none": null}\n')
    found = read_columns(lines, "jsonl", "f")
    assert {column.name: column.texts for column in found} == {
        "id": ("1", "2.5"),
        "new": ("true",),
        "more": ('{"x": 1}',),
        "none": (),
    }


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        pytest.param([1], pa.int16(), "int", id="short integer"),
        pytest.param([1], pa.uint32(), "bigint", id="integer without sign"),
        pytest.param([1], pa.uint64(), "uint64", id="too long an integer"),
        pytest.param([Decimal("1.50")], pa.decimal128(10, 2), "double", id="decimal"),
        pytest.param([Decimal(1)], pa.decimal128(18, 0), "bigint", id="whole decimal"),
        pytest.param(["a"], pa.dictionary(pa.int8(), pa.string()), "string", id="dictionary"),
        pytest.param([date(2025, 1, 1)], pa.date32(), "date", id="date"),
        pytest.param([0], pa.timestamp("us", "UTC"), "timestamp", id="timestamp"),
        pytest.param([0], pa.timestamp("ns"), "timestamp[ns]", id="timestamp that Spark cannot read"),
        pytest.param([0.5], pa.float32(), "double", id="short float"),
        pytest.param([[1]], pa.list_(pa.int8()), "list<element: int8>", id="list"),
    ],
)
def test_parquet_states_its_types(values: list[Any], dtype: pa.DataType, expected: str) -> None:
    stream = io.BytesIO()
    pq.write_table(pa.table({"v": pa.array(values, dtype)}), stream)
    assert read_columns(stream, "parquet", "f") == (FoundColumn("v", expected),)


def test_type_that_no_file_holds_keeps_its_name() -> None:
    assert name_type(pa.duration("s")) == "duration[s]"


@pytest.mark.parametrize(
    ("stream", "file_format"),
    [
        pytest.param(io.BytesIO(b"no parquet"), "parquet", id="corrupt Parquet"),
        pytest.param(gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(b"id" * 9999)[:20])), "csv", id="truncated gzip"),
    ],
)
def test_unreadable_file_is_refused(stream: io.BytesIO, file_format: str) -> None:
    with pytest.raises(NightloopError, match="send the file again"):
        read_columns(stream, file_format, "f")  # type: ignore[arg-type]
