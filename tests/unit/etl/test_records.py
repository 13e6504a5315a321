"""A file without some of its records is otherwise the same, byte for byte."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightloop.etl.params import FileFormat
from nightloop.etl.records import Record, drop_records, sample_texts

CSV = b'\xef\xbb\xbfid,note\r\n1,"two\nlines"\r\n2,"say ""hi"""\n\n3,\xff\n4\n5,last'
LINES = b'{"id": 1, "note": "a"}\n\nnonsense 2\n{"id": 2}'


def is_two(raw: bytes, record: Record | None) -> bool:
    return b"2" in raw if record is None else record.get("id") == "2"


@pytest.mark.parametrize(
    ("content", "file_format", "left"),
    [
        pytest.param(CSV, "csv", CSV.replace(b'2,"say ""hi"""\n', b""), id="csv"),
        pytest.param(LINES, "jsonl", b'{"id": 1, "note": "a"}\n\n', id="json lines"),
    ],
)
def test_dropped_record_leaves_the_others(content: bytes, file_format: FileFormat, left: bytes) -> None:
    kept, dropped = drop_records(content, file_format, is_two)
    assert (kept, dropped) == (left, content.count(b"\n") - left.count(b"\n") + (file_format == "jsonl"))
    assert drop_records(content, file_format, lambda *_: False) == (content, 0)


def test_parquet_keeps_its_schema_and_row_order() -> None:
    rows = pa.table({"id": pa.array([1, 2, 3], pa.int32()), "at": [["x"], None, []]})
    sink = io.BytesIO()
    pq.write_table(rows, sink)
    kept, dropped = drop_records(sink.getvalue(), "parquet", is_two)
    assert dropped == 1
    assert pq.read_table(io.BytesIO(kept)).equals(rows.take([0, 2]))


def test_samples_are_texts_by_column() -> None:
    assert sample_texts(io.BytesIO(CSV), "csv")["id"] == ["1", "2", "3", "5"]
    assert sample_texts(io.BytesIO(LINES), "jsonl") == {"id": ["1", "2"], "note": ["a"]}
    many = b"id\n" + b"".join(b"%d\n" % n for n in range(5000))
    assert len(sample_texts(io.BytesIO(many), "csv")["id"]) < 5000
    assert json.loads(json.dumps(sample_texts(io.BytesIO(b""), "csv"))) == {}
