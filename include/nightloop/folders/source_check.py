"""Hold a source's folder to its contract: SQL, named columns, arrival, extract, suite."""

import re
from collections.abc import Iterator

from nightloop.etl.params import Extract
from nightloop.fault import Fault
from nightloop.folders.checked_folder import CheckedFolder, check_suite, unknown
from nightloop.folders.contracts import ADDED_TO_CLEAN, raw_columns, raw_views
from nightloop.folders.loading import read_document
from nightloop.folders.source import Source
from nightloop.sql.check import SqlContract, check_condition, check_sql, is_one_query, list_output


def check_source(folder: CheckedFolder, source: Source) -> Iterator[Fault]:
    """Yield every fault of a source whose files could be read and typed."""
    raw = raw_columns(source)
    clean_file = str(folder.path / "clean.sql")
    keys = tuple(key for key in source.keys if key not in ADDED_TO_CLEAN)
    yield from check_sql(source.clean_sql, clean_file, SqlContract(raw_views(source), keys, True))
    clean = list_output(source.clean_sql, {"raw": raw})
    known = None if clean is None else {*clean, *ADDED_TO_CLEAN}
    if known is not None and source.event_time not in known:
        yield unknown(folder.where("event_time"), "a column of clean.sql", known, source.event_time)
    if source.tombstone is not None:
        yield from check_condition(source.tombstone, folder.where("tombstone"), known or ())
    yield from _check_named_columns(folder, source)
    yield from _check_known_at(folder, source)
    if source.extract is not None:
        yield from _check_extract(folder, source, source.extract)
    suite = read_document(folder.path / "suite.yaml")
    yield from check_suite(suite, source.suite, None if known is None else {*known, *raw})


def _check_named_columns(folder: CheckedFolder, source: Source) -> Iterator[Fault]:
    """Check the columns that `pii`, `not_pii` and `ignored_columns` name."""
    for column in source.pii:
        if column not in source.columns:
            yield unknown(folder.where("pii", column), "a declared column", source.columns, column)
    for column in source.not_pii:
        if column not in source.columns:
            yield unknown(folder.where("not_pii", column), "a declared column", source.columns, column)
        elif column in source.pii:
            yield Fault(folder.where("not_pii", column), "columns without a treatment", f"PII {column}", "choose one")
    for column in source.ignored_columns:
        if column in source.columns:
            yield Fault(
                folder.where("ignored_columns"), "columns that are not declared", column, "remove one of the two"
            )


def _check_extract(folder: CheckedFolder, source: Source, extract: Extract) -> Iterator[Fault]:
    if source.format != "parquet":
        yield Fault(folder.where("format"), "parquet, in which extracts are landed", source.format, "correct it")
    if source.known_at.by == "file_name":
        where = folder.where("known_at", "by")
        yield Fault(where, "`arrival` or `column` for an extract", "file_name", "choose one of them")
    for entry in ("success_marker", "expects"):
        if getattr(source, entry) is not None:
            yield Fault(folder.where(entry), "no such entry beside `extract`", "one", "remove it")
    if extract.changed_at is not None:
        column = source.columns.get(extract.changed_at)
        if column is None or column.type != "timestamp":
            timestamps = [name for name, each in source.columns.items() if each.type == "timestamp"]
            where = folder.where("extract", "changed_at")
            yield unknown(where, "a declared timestamp column", timestamps, extract.changed_at)
    if extract.kind == "database" and extract.query is not None and not is_one_query(extract.query):
        yield Fault(folder.where("extract", "query"), "one SELECT", "other SQL", "write one SELECT")


def _check_known_at(folder: CheckedFolder, source: Source) -> Iterator[Fault]:
    rule = source.known_at
    if rule.by == "column":
        column = source.columns.get(rule.column or "")
        if column is None:
            found = rule.column or "nothing"
            yield unknown(folder.where("known_at", "column"), "a declared date or timestamp", source.columns, found)
        elif column.type not in {"date", "timestamp"}:
            where = folder.where("known_at", "column")
            yield Fault(where, "a date or timestamp column", f"{rule.column} of type {column.type}", "choose another")
        if rule.column in source.pii:
            yield Fault(
                folder.where("known_at", "column"),
                "a column that stays as it is",
                f"PII {rule.column}",
                "choose another",
            )
    elif rule.column is not None or rule.truncated_to is not None:
        yield Fault(
            folder.where("known_at"), "`column` and `truncated_to` only with `by: column`", rule.by, "remove them"
        )
    if rule.by == "file_name":
        yield from _check_pattern(folder, rule.pattern)
    elif rule.pattern is not None:
        yield Fault(folder.where("known_at", "pattern"), "`pattern` only with `by: file_name`", rule.by, "remove it")


def _check_pattern(folder: CheckedFolder, pattern: str | None) -> Iterator[Fault]:
    where = folder.where("known_at", "pattern")
    expected = "a regular expression with the groups year, month and optionally day"
    try:
        groups = set(re.compile(pattern or "").groupindex)
    except re.error as error:
        yield Fault(where, expected, f"{pattern!r}: {error}", r"e.g. `(?P<year>\d{4})-(?P<month>\d{2})`")
        return
    if not {"year", "month"} <= groups <= {"year", "month", "day"}:
        yield Fault(where, expected, repr(pattern), r"e.g. `(?P<year>\d{4})-(?P<month>\d{2})`")
