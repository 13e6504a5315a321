"""The columns a file really has: their names, their types, and the first values of those that are text."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

from nightloop.etl.params import FileFormat
from nightloop.fault import Fault, NightloopError

if TYPE_CHECKING:
    import pyarrow

_SAMPLED_LINES = 1000
_INT_BITS, _INT_DIGITS, _BIGINT_DIGITS = 32, 9, 18  # every number of so many digits fits


@dataclass(frozen=True, slots=True)
class FoundColumn:
    """One column of a file: the `type` that a typed format states, or the first `texts` that are not blank."""

    name: str
    type: str = ""
    texts: tuple[str, ...] = ()


def read_columns(stream: IO[bytes], file_format: FileFormat, path: str) -> tuple[FoundColumn, ...]:
    """Return a file's own columns: a Parquet schema, or a CSV header or JSON keys with the first thousand lines.

    Raises:
        NightloopError: the file cannot be read as that format.
    """
    try:
        if file_format == "parquet":
            import pyarrow.parquet

            return tuple(
                FoundColumn(field.name, name_type(field.type)) for field in pyarrow.parquet.read_schema(stream)
            )
        # `replace`: bytes that are no text are the fault of their row, which is set aside later, not of the file
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
        try:
            return _read_csv(text) if file_format == "csv" else _read_json_lines(text)
        finally:
            # or the wrapper closes the caller's stream when it goes
            text.detach()
    # a gzip that was cut short is an EOFError, a broken Parquet footer one of Arrow's ValueErrors
    except (OSError, EOFError, ValueError, csv.Error) as error:
        raise NightloopError(
            Fault(f"file {path}", f"a readable {file_format} file", f"{type(error).__name__}", "send the file again")
        ) from error


def name_type(dtype: "pyarrow.DataType") -> str:
    """Name an Arrow type as contracts do, by the smallest type that holds its values; others keep Arrow's own name.

    Spark reads no timestamps in nanoseconds, so those stay foreign.
    """
    import pyarrow.types as kinds

    if kinds.is_dictionary(dtype):
        return name_type(dtype.value_type)
    if kinds.is_integer(dtype):
        return _name_integer(dtype)
    if kinds.is_decimal(dtype):
        return "double" if dtype.scale or dtype.precision > _BIGINT_DIGITS else _name_digits(dtype.precision)
    if kinds.is_timestamp(dtype) and dtype.unit != "ns":
        return "timestamp"
    named = {
        "boolean": kinds.is_boolean,
        "double": kinds.is_floating,
        "date": kinds.is_date,
        "string": lambda each: kinds.is_string(each) or kinds.is_large_string(each) or kinds.is_string_view(each),
    }
    return next((name for name, holds in named.items() if holds(dtype)), str(dtype))


def _name_integer(dtype: "pyarrow.DataType") -> str:
    bits = dtype.bit_width + str(dtype).startswith("u")  # without a sign the last bit counts too
    if bits <= _INT_BITS:
        return "int"
    return "bigint" if bits <= 2 * _INT_BITS else str(dtype)


def _name_digits(precision: int) -> str:
    return "int" if precision <= _INT_DIGITS else "bigint"


def _read_csv(text: io.TextIOWrapper) -> tuple[FoundColumn, ...]:
    reader = csv.reader(text)
    names = next(reader, [])
    rows = [row for row in _complete(reader) if len(row) == len(names)]
    return tuple(FoundColumn(name, texts=_texts(row[index] for row in rows)) for index, name in enumerate(names))


def _complete(reader: Iterator[list[str]]) -> list[list[str]]:
    """Return the first rows, as far as they can be parsed: a broken line is set aside later, with its number."""
    rows: list[list[str]] = []
    with suppress(csv.Error):
        rows.extend(islice(reader, _SAMPLED_LINES))
    return rows


def _read_json_lines(lines: io.TextIOWrapper) -> tuple[FoundColumn, ...]:
    records = [record for line in islice(lines, _SAMPLED_LINES) if (record := _parse(line))]
    names = dict.fromkeys(name for record in records for name in record)
    return tuple(FoundColumn(name, texts=_texts(_as_text(record.get(name)) for record in records)) for name in names)


def _parse(line: str) -> Mapping[str, Any]:
    try:
        record = json.loads(line) if line.strip() else {}
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _as_text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(stripped for value in values if (stripped := value.strip()))
