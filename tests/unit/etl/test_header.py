"""The columns of files against their contract."""

import gzip
import io

import pytest

from nightloop.etl.header import check_columns, read_columns
from nightloop.etl.params import Column, ReadParams
from nightloop.fault import NightloopError

PARAMS = ReadParams(
    format="csv",
    columns={"id": Column(type="int", required=True), "note": Column(type="string")},
    ignored_columns=("x",),
)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"id,note\n1,a\n", id="plain"),
        pytest.param(b"\xef\xbb\xbfid,note\r\n1,a\r\n", id="byte order mark"),
        pytest.param(b'"id","note"\n', id="quoted, no rows"),
    ],
)
def test_header_is_read(content: bytes) -> None:
    assert read_columns(io.BytesIO(content), "csv", "f") == ("id", "note")


def test_new_column_is_kept_aside_and_an_ignored_one_is_not_reported() -> None:
    assert check_columns("f", ("note", "x", "id", "new"), PARAMS).added == ("new",)


@pytest.mark.parametrize(
    ("columns", "remedy"),
    [
        pytest.param(("id",), "missing: note", id="missing"),
        pytest.param(("id", "remark"), "new: remark", id="renamed"),
        pytest.param(("id", "note", "id"), "twice: id", id="twice"),
        pytest.param(("id;note",), "missing: id, note", id="wrong delimiter"),
        pytest.param((), "missing: id, note", id="empty file"),
    ],
)
def test_other_columns_are_refused_with_both_schemas(columns: tuple[str, ...], remedy: str) -> None:
    with pytest.raises(NightloopError, match=remedy) as caught:
        check_columns("f.csv", columns, PARAMS)
    (fault,) = caught.value.faults
    assert (fault.expected, fault.found) == ("id, note", ", ".join(columns) or "none")


def test_json_lines_may_leave_out_optional_keys_only() -> None:
    params = PARAMS.model_copy(update={"format": "jsonl"})
    lines = io.BytesIO(b'{"id": 1}\nnonsense\n{"id": 2, "new": 1}\n')
    schema = check_columns("f", read_columns(lines, "jsonl", "f"), params)
    assert (schema.added, schema.absent) == (("new",), ("note",))
    with pytest.raises(NightloopError, match="missing: id"):
        check_columns("f", ("note",), params)


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
