"""A file's columns held against its source's contract: new ones are kept aside, missing and retyped ones refuse it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from nightloop.etl.header import FoundColumn
from nightloop.etl.params import Column, ReadParams
from nightloop.fault import Fault, NightloopError

_LEAST_TEXTS = 20
# as wide as Spark's casts, which take `1.5d`, `y`, and a year alone for a date:
# what matches none of these is surely of another type
_INTEGER = re.compile(r"[+-]?\d{1,19}")
_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?[df]?|inf(inity)?|nan)", re.IGNORECASE)
_BOOLEAN = re.compile(r"t(rue)?|f(alse)?|y(es)?|no?|[01]", re.IGNORECASE)
_DATE = re.compile(r"[+-]?\d{4,7}(-\d{1,2}(-\d{1,2}([ T].*)?)?)?")
_TIME = re.compile(r"T?\d{1,2}:\d{1,2}(:.*)?")
_UNREADABLE = ("timestamp[ns", "time32", "time64")  # no closing bracket: a zone may follow
_BITS: Mapping[str, int] = {"int": 31, "bigint": 63}


@dataclass(frozen=True, slots=True)
class FileSchema:
    """One file's columns in file order with the types it states (none for text formats).

    `added` are columns that no contract names, `absent` those that may be missing (JSON lines).
    """

    path: str
    columns: tuple[str, ...]
    types: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def check_columns(path: str, found: Sequence[FoundColumn], params: ReadParams) -> FileSchema:
    """Hold a file's columns against the contract.

    A typed format states each column's type: the contract's, or one that it declares as widened from. A column of text
    is retyped when at least 20 values were seen and none of them is of the contract's type; single ones that are not
    are set aside row by row.

    Raises:
        NightloopError: a column is missing, renamed or retyped, stands twice, or cannot be read by Spark; both schemas
            stand side by side.
    """
    names = [column.name for column in found]
    remarks = {column.name: remark for column in found if (remark := _judge(column, params))}
    remarks |= {name: "twice" for name in names if names.count(name) > 1}
    absent = [name for name in params.columns if name not in names]
    is_optional = params.format == "jsonl"
    missing = [name for name in absent if not is_optional or params.columns[name].required]
    added = tuple(name for name in names if name not in params.columns and name not in params.ignored_columns)
    if missing or remarks:
        remarks |= dict.fromkeys(missing, "missing")
        remarks |= {name: "new, perhaps renamed" if missing else "new" for name in added if name not in remarks}
        raise NightloopError(_refuse(path, found, params, remarks))
    types = tuple(column.type for column in found) if params.format == "parquet" else ()
    return FileSchema(path, tuple(names), types, added, tuple(absent))


def infer_type(texts: Sequence[str]) -> str:
    """Return the first type of contracts that all texts may be of; empty where there are none.

    >>> infer_type(["1", "2.5"]), infer_type(["2025-01-02"]), infer_type(["1", "one"]), infer_type([])
    ('double', 'date', 'string', '')
    """
    order = ("int", "bigint", "double", "boolean", "date", "timestamp", "string")
    return next(each for each in order if all(_may_be(text, each) for text in texts)) if texts else ""


def _judge(column: FoundColumn, params: ReadParams) -> str:
    """Return what is wrong with one column; nothing where it is as declared, or not declared at all."""
    if column.type.startswith(_UNREADABLE):
        return "write it in microseconds" if column.type.startswith("timestamp") else "not readable"
    expected = params.columns.get(column.name)
    if expected is None:
        return ""
    if column.type:
        return "" if column.type in (expected.type, *expected.widened_from) else "retyped"
    is_retyped = len(column.texts) >= _LEAST_TEXTS and not any(_may_be(text, expected.type) for text in column.texts)
    return "retyped" if is_retyped else ""


def _may_be(text: str, type_name: str) -> bool:
    """Tell whether a text may be a value of a type; what Spark's cast refuses all the same is set aside by row."""
    if type_name in _BITS:
        return bool(_INTEGER.fullmatch(text)) and -(2 ** _BITS[type_name]) <= int(text) < 2 ** _BITS[type_name]
    if type_name == "timestamp":
        return bool(_DATE.fullmatch(text) or _TIME.fullmatch(text))
    patterns = {"double": _NUMBER, "boolean": _BOOLEAN, "date": _DATE}
    return type_name == "string" or bool(patterns[type_name].fullmatch(text))


def _refuse(path: str, found: Sequence[FoundColumn], params: ReadParams, remarks: Mapping[str, str]) -> Fault:
    table = _side_by_side(params.columns, found, remarks)
    return Fault(
        f"columns of {path}",
        "the contract's columns",
        f"others:\n{table}\n",
        "send the file with the contract's columns, or change `columns` in source.yaml; `widened_from` "
        "says what a column was before",
    )


def _side_by_side(expected: Mapping[str, Column], found: Sequence[FoundColumn], remarks: Mapping[str, str]) -> str:
    """Return both schemas as a table: the contract's columns in its order, then those that only the file has."""
    types = {column.name: column.type or infer_type(column.texts) for column in found}
    lines = [("expected", "found", "")]
    for name, column in expected.items():
        lines.append(
            (f"{name} {column.type}", f"{name} {types[name]}" if name in types else "-", remarks.get(name, ""))
        )
    lines += [("-", f"{name} {types[name]}", remarks.get(name, "")) for name in types if name not in expected]
    return _format_table(lines)


def _format_table(lines: Iterable[tuple[str, ...]]) -> str:
    rows = list(lines)
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    return "\n".join(
        "  " + " | ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip(" |")
        for row in rows
    )
