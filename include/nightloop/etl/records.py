"""A file's records one by one, each with its own bytes, so that a file can be written again without some of them."""

import csv
import io
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from nightloop.etl.params import FileFormat

Record = Mapping[str, str | None]
_ENCODING, _UNDECODABLE = "utf-8", "surrogateescape"  # bytes that are no text come back as they were
_MARK = "\ufeff"
_SAMPLED_BYTES, _SAMPLED_RECORDS = 4 << 20, 1000


def read_records(content: bytes, file_format: FileFormat) -> Iterator[tuple[bytes, Record | None]]:
    """Yield the bytes of each record of a text file with its values; None where it does not parse.

    A CSV header is yielded first, as a record without values.
    """
    text = content.decode(_ENCODING, _UNDECODABLE)
    split = _split_csv(text) if file_format == "csv" else _split_lines(text)
    for raw, record in split:
        yield raw.encode(_ENCODING, _UNDECODABLE), record


def drop_records(
    content: bytes, file_format: FileFormat, is_dropped: Callable[[bytes, Record | None], bool]
) -> tuple[bytes, int]:
    """Return the content without some records, all others byte for byte as they were, and how many are gone.

    A Parquet file is written anew with its own schema.
    """
    if file_format == "parquet":
        return _drop_rows(content, is_dropped)
    kept, dropped = [], 0
    for raw, record in read_records(content, file_format):
        if is_dropped(raw, record):
            dropped += 1
        else:
            kept.append(raw)
    return b"".join(kept), dropped


def sample_texts(stream: IO[bytes], file_format: FileFormat) -> dict[str, list[str | None]]:
    """Return the values of a file's first records by column, as text; a bounded part of the file is read."""
    columns: dict[str, list[str | None]] = defaultdict(list)
    if file_format == "parquet":
        first = next(pq.ParquetFile(io.BytesIO(stream.read())).iter_batches(_SAMPLED_RECORDS), None)
        named = zip(first.schema, first.columns, strict=True) if first is not None else ()
        return {field.name: column.cast(pa.string()).to_pylist() for field, column in named if _is_flat(field.type)}
    content = stream.read(_SAMPLED_BYTES)
    records = [record for _, record in islice(read_records(content, file_format), _SAMPLED_RECORDS) if record]
    # where the reading stopped short of the end, the last record may be half a one
    for record in records[:-1] if len(content) == _SAMPLED_BYTES else records:
        for name, value in record.items():
            columns[name].append(value)
    return columns


def _split_csv(text: str) -> Iterator[tuple[str, Record | None]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    # the reader asks for as many lines as a record has: together they are its bytes
    taken: list[str] = []

    def take() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            taken.append(line)
            yield line.removeprefix(_MARK)

    header: list[str] | None = None
    for fields in csv.reader(take()):
        raw = "".join(taken)
        taken.clear()
        if header is None:
            header = fields
            yield raw, {}
        elif fields:
            yield raw, dict(zip(header, fields, strict=True)) if len(fields) == len(header) else None
        else:
            yield raw, {}


def _split_lines(text: str) -> Iterator[tuple[str, Record | None]]:
    for line in io.StringIO(text, newline=""):
        try:
            record = json.loads(line.removeprefix(_MARK)) if line.strip() else {}
        except ValueError:
            record = None
        if isinstance(record, dict):
            yield line, {name: None if value is None else str(value) for name, value in record.items()}
        else:
            yield line, None


def _drop_rows(content: bytes, is_dropped: Callable[[bytes, Record | None], bool]) -> tuple[bytes, int]:
    rows = pq.read_table(io.BytesIO(content))
    texts = [None if not _is_flat(field.type) else rows.column(field.name).cast(pa.string()) for field in rows.schema]
    named = {field.name: text.to_pylist() for field, text in zip(rows.schema, texts, strict=True) if text is not None}
    kept = [
        not is_dropped(b"", {name: values[number] for name, values in named.items()}) for number in range(rows.num_rows)
    ]
    sink = io.BytesIO()
    pq.write_table(rows.filter(pa.array(kept, pa.bool_())), sink)
    return sink.getvalue(), kept.count(False)


def _is_flat(kind: pa.DataType) -> bool:
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
