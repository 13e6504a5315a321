"""The place of a line that did not parse is exactly its bytes."""

import io

import pytest

from nightloop.etl.params import FileFormat
from nightloop.etl.places import locate_records

CSV = 'id,note\n1,"two\nlines"\n\nbroken é\n3,"say ""hi"""\r\n   \nlast'.encode()
JSON = b'{"id": 1}\n\nnonsense\r\n  \n{"id": 2'


@pytest.mark.parametrize(
    ("content", "file_format", "records"),
    [
        pytest.param(
            CSV, "csv", [b'1,"two\nlines"', "broken é".encode(), b'3,"say ""hi"""', b"   ", b"last"], id="csv"
        ),
        pytest.param(b"\xef\xbb\xbfid,note\r\nx\r\n", "csv", [b"x"], id="csv with a byte order mark"),
        pytest.param(
            b'id\n"' + b"x" * 300_000 + b'"\ny\n', "csv", [b'"' + b"x" * 300_000 + b'"', b"y"], id="long field"
        ),
        pytest.param(JSON, "jsonl", [b'{"id": 1}', b"nonsense", b'{"id": 2'], id="json lines"),
    ],
)
def test_record_lies_where_its_place_says(content: bytes, file_format: FileFormat, records: list[bytes]) -> None:
    numbers = range(1, len(records) + 1)
    found = locate_records(io.BytesIO(content), file_format, numbers, len(records))
    assert [content[offset : offset + length] for offset, length in (found[number] for number in numbers)] == records


def test_no_place_is_given_where_spark_divided_the_file_otherwise() -> None:
    assert locate_records(io.BytesIO(CSV), "csv", [1], 4) == {}
