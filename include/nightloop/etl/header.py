"""The columns a file really has, held against its source's contract."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import IO

from nightloop.etl.params import FileFormat, ReadParams
from nightloop.fault import Fault, NightloopError

_SAMPLED_LINES = 1000


@dataclass(frozen=True, slots=True)
class FileSchema:
    """One file's columns in file order; `added` are those no contract names, `absent` may be missing (JSON lines)."""

    path: str
    columns: tuple[str, ...]
    added: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def read_columns(stream: IO[bytes], file_format: FileFormat, path: str) -> tuple[str, ...]:
    """Return a file's own column names: a CSV header, a Parquet schema, the keys of the first JSON lines.

    Raises:
        NightloopError: the file cannot be read as that format.
    """
    try:
        if file_format == "parquet":
            import pyarrow.parquet

            return tuple(pyarrow.parquet.read_schema(io.BytesIO(stream.read())).names)
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
        try:
            return tuple(next(csv.reader(text), ())) if file_format == "csv" else _keys(text)
        finally:
            text.detach()
    except (OSError, EOFError, ValueError, csv.Error) as error:
        raise NightloopError(
            Fault(f"file {path}", f"a readable {file_format} file", f"{type(error).__name__}", "send the file again")
        ) from error


def check_columns(path: str, columns: Sequence[str], params: ReadParams) -> FileSchema:
    """Hold a file's columns against the contract: new ones are kept aside, missing ones refuse the file.

    Raises:
        NightloopError: a column is missing (or renamed), or stands twice; both schemas are printed side by side.
    """
    expected = set(params.columns)
    added = tuple(name for name in columns if name not in expected and name not in params.ignored_columns)
    missing = [name for name in params.columns if name not in columns]
    is_optional = params.format == "jsonl"
    refused = [name for name in missing if not is_optional or params.columns[name].required]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if refused or twice:
        raise NightloopError(
            Fault(
                f"columns of {path}",
                ", ".join(params.columns),
                ", ".join(columns) or "none",
                _describe(refused, twice, added),
            )
        )
    return FileSchema(path, tuple(columns), added, tuple(missing))


def _keys(lines: io.TextIOWrapper) -> tuple[str, ...]:
    keys: dict[str, None] = {}
    for line in islice(lines, _SAMPLED_LINES):
        try:
            record = json.loads(line) if line.strip() else {}
        except ValueError:
            continue
        if isinstance(record, dict):
            keys.update(dict.fromkeys(record))
    return tuple(keys)


def _describe(missing: Sequence[str], twice: Sequence[str], added: Sequence[str]) -> str:
    parts = [f"missing: {', '.join(missing)}"] if missing else []
    parts += [f"twice: {', '.join(twice)}"] if twice else []
    parts += [f"new: {', '.join(added)} (renamed?)"] if added and missing else []
    return f"{'; '.join(parts)}; send the file with the contract's columns, or change `columns` in source.yaml"
