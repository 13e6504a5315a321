"""Where the lines that did not parse lie in their file: raw keeps their bytes' place and never their content."""

import csv
import sys
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import IO

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nightloop.etl.params import FileFormat

Span = tuple[int, int]


def locate_records(stream: IO[bytes], file_format: FileFormat, wanted: Collection[int], rows: int) -> dict[int, Span]:
    """Return (offset, length) in bytes of wanted records, numbered from 1, of a decompressed CSV or JSON lines file.

    The line's end is not part of its length. Empty where the file does not divide into `rows` records in the way in
    which Spark read them, for then no place is sure.
    """
    spans = islice(_csv_spans(stream), 1, None) if file_format == "csv" else _line_spans(stream)
    asked, found, number = set(wanted), {}, 0
    for number, span in enumerate(spans, start=1):
        if number in asked:
            found[number] = span
    return found if number == rows else {}


def add_places(rows: DataFrame, places: Sequence[tuple[str, int, int, int]]) -> DataFrame:
    """Add `_offset` and `_length` by (checksum, row, offset, length); null for every other row."""
    if not places:
        nothing = F.lit(None).cast("bigint")
        return rows.withColumns({"_offset": nothing, "_length": nothing})
    schema = "_checksum string, _row bigint, _offset bigint, _length bigint"
    found = rows.sparkSession.createDataFrame(list(places), schema)
    return rows.join(F.broadcast(found), ["_checksum", "_row"], "left")


def _line_spans(stream: IO[bytes]) -> Iterator[Span]:
    offset = 0
    for line in stream:
        content = line.rstrip(b"\r\n")
        # blanks alone, as `trim` in `etl.read`: what is no record there must not be counted here
        if content.strip(b" "):
            yield offset, len(content)
        offset += len(line)


def _csv_spans(stream: IO[bytes]) -> Iterator[Span]:
    """Yield the span of each record, the header's first; a quoted field may hold line ends, empty lines are none."""
    # the default of 131,072 would end the walk at a longer field
    csv.field_size_limit(sys.maxsize)
    begin = end = ending = 0

    def lines() -> Iterator[str]:
        nonlocal end, ending
        for line in stream:
            end += len(line)
            ending = len(line) - len(line.rstrip(b"\r\n"))
            yield line.decode("latin-1")  # one character a byte

    try:
        for record in csv.reader(lines()):
            if record:
                yield begin, end - ending - begin
            begin = end
    except csv.Error:
        return
