"""Hold every folder to its contract and to its neighbours, and report all faults at once."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from nightloop.etl.params import Extract
from nightloop.fault import Fault, NightloopError
from nightloop.folders.contracts import (
    ADDED_TO_CLEAN,
    Columns,
    check_features_sql,
    check_label_sql,
    check_spine_sql,
    clean_columns_of,
    feature_views,
    label_views,
    raw_columns,
    raw_views,
    spine_views,
)
from nightloop.folders.loading import (
    Document,
    list_folders,
    read_document,
    read_source,
    read_use_case,
)
from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.quality.params import Suite
from nightloop.sql.check import SqlContract, check_condition, check_sql, is_one_query, list_output

SCHEMAS: Mapping[str, type[BaseModel]] = {"source": Source, "use_case": UseCase, "suite": Suite}
_METRICS = {
    "binary": {"roc_auc", "pr_auc", "log_loss", "brier", "accuracy"},
    "multiclass": {"log_loss", "accuracy"},
    "regression": {"rmse", "mae"},
}
_EXPECTATION = re.compile(r"expect_[a-z0-9_]+")


@dataclass(frozen=True)
class _Folder:
    """A folder whose entries are typed, with the lines of its YAML."""

    path: Path
    main: Document

    def where(self, *path: str | int) -> str:
        return self.main.where(path)


def validate_folders(folders: Sequence[Path]) -> list[Fault]:
    """Return every fault of every folder below `sources/` and `use_cases/`; nothing when all may run.

    A folder that cannot be read at all is not held against its neighbours as well.
    """
    faults: list[Fault] = []
    sources: dict[str, Source] = {}
    broken: set[str] = set()
    for path in list_folders("sources", folders):
        try:
            sources[path.name] = read_source(path)
        except NightloopError as error:
            faults.extend(error.faults)
            broken.add(path.name)
        else:
            faults.extend(_check_source(_Folder(path, read_document(path / "source.yaml")), sources[path.name]))
    for path in list_folders("use_cases", folders):
        try:
            use_case = read_use_case(path)
        except NightloopError as error:
            faults.extend(error.faults)
        else:
            folder = _Folder(path, read_document(path / "use_case.yaml"))
            faults.extend(_check_use_case(folder, use_case, sources, broken))
    return faults


def export_schemas() -> dict[str, str]:
    """Return the JSON Schema of each kind of YAML, by file name, as editors read them."""
    return {f"{name}.schema.json": _export_schema(name, model) for name, model in SCHEMAS.items()}


def write_schemas(folder: Path) -> None:
    """Write the JSON Schemas into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in export_schemas().items():
        (folder / name).write_text(text, encoding="utf-8")


def _check_source(folder: _Folder, source: Source) -> Iterator[Fault]:
    raw = raw_columns(source)
    clean_file = str(folder.path / "clean.sql")
    keys = tuple(key for key in source.keys if key not in ADDED_TO_CLEAN)
    yield from check_sql(source.clean_sql, clean_file, SqlContract(raw_views(source), keys, True))
    clean = list_output(source.clean_sql, {"raw": raw})
    known = None if clean is None else {*clean, *ADDED_TO_CLEAN}
    if known is not None and source.event_time not in known:
        yield _unknown(folder.where("event_time"), "a column of clean.sql", known, source.event_time)
    if source.tombstone is not None:
        yield from check_condition(source.tombstone, folder.where("tombstone"), known or ())
    yield from _check_named_columns(folder, source)
    yield from _check_known_at(folder, source)
    if source.extract is not None:
        yield from _check_extract(folder, source, source.extract)
    suite = read_document(folder.path / "suite.yaml")
    yield from _check_suite(suite, source.suite, None if known is None else {*known, *raw})


def _check_named_columns(folder: _Folder, source: Source) -> Iterator[Fault]:
    """Check the columns that `pii`, `not_pii` and `ignored_columns` name."""
    for column in source.pii:
        if column not in source.columns:
            yield _unknown(folder.where("pii", column), "a declared column", source.columns, column)
    for column in source.not_pii:
        if column not in source.columns:
            yield _unknown(folder.where("not_pii", column), "a declared column", source.columns, column)
        elif column in source.pii:
            yield Fault(folder.where("not_pii", column), "columns without a treatment", f"PII {column}", "choose one")
    for column in source.ignored_columns:
        if column in source.columns:
            yield Fault(
                folder.where("ignored_columns"), "columns that are not declared", column, "remove one of the two"
            )


def _check_extract(folder: _Folder, source: Source, extract: Extract) -> Iterator[Fault]:
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
            yield _unknown(where, "a declared timestamp column", timestamps, extract.changed_at)
    if extract.kind == "database" and extract.query is not None and not is_one_query(extract.query):
        yield Fault(folder.where("extract", "query"), "one SELECT", "other SQL", "write one SELECT")


def _check_known_at(folder: _Folder, source: Source) -> Iterator[Fault]:
    rule = source.known_at
    if rule.by == "column":
        column = source.columns.get(rule.column or "")
        if column is None:
            found = rule.column or "nothing"
            yield _unknown(folder.where("known_at", "column"), "a declared date or timestamp", source.columns, found)
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


def _check_pattern(folder: _Folder, pattern: str | None) -> Iterator[Fault]:
    where = folder.where("known_at", "pattern")
    expected = "a regular expression with the groups year, month and optionally day"
    try:
        groups = set(re.compile(pattern or "").groupindex)
    except re.error as error:
        yield Fault(where, expected, f"{pattern!r}: {error}", r"e.g. `(?P<year>\d{4})-(?P<month>\d{2})`")
        return
    if not {"year", "month"} <= groups <= {"year", "month", "day"}:
        yield Fault(where, expected, repr(pattern), r"e.g. `(?P<year>\d{4})-(?P<month>\d{2})`")


def _check_use_case(
    folder: _Folder, use_case: UseCase, sources: Mapping[str, Source], broken: set[str]
) -> Iterator[Fault]:
    for name in use_case.sources:
        if name not in sources and name not in broken:
            yield _unknown(folder.where("sources", name), "a source", sources, name)
    clean = clean_columns_of(use_case, sources)
    yield from _check_spine(folder, use_case, clean)
    yield from _check_features(folder, use_case, clean)
    yield from _check_label(folder, use_case, clean)
    yield from _check_promotion(folder, use_case)
    yield from _check_limits(folder, use_case)
    yield from _check_allowed(folder, use_case, clean)
    yield from _check_retention(folder, use_case, sources)


def _check_spine(folder: _Folder, use_case: UseCase, clean: Mapping[str, Columns]) -> Iterator[Fault]:
    yield from check_spine_sql(use_case, clean, folder.path)
    spine = list_output(use_case.spine_sql, spine_views(clean))
    if spine is None:
        return
    for name, source in use_case.sources.items():
        for column, to in source.join.items():
            where = folder.where("sources", name, "join", column)
            if clean.get(name) and column not in clean[name]:
                yield _unknown(where, f"a column of the clean table {name}", clean[name], column)
            if to not in spine:
                yield _unknown(where, "a column of spine.sql", spine, to)
    for index, column in enumerate(use_case.protected):
        if column not in spine:
            yield _unknown(folder.where("protected", index), "a column of spine.sql", spine, column)


def _check_features(folder: _Folder, use_case: UseCase, clean: Mapping[str, Columns]) -> Iterator[Fault]:
    yield from check_features_sql(use_case, clean, folder.path)
    output = list_output(use_case.features_sql, feature_views(use_case, clean))
    names = list(use_case.features.names)
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Fault(folder.where("features"), "each feature once", f"`{name}` twice", "remove one")
    if not names:
        yield Fault(folder.where("features"), "at least one feature", "none", "name the columns of features.sql")
    for name in use_case.protected:
        if name in names or (output is not None and name in output):
            where = folder.where("protected", use_case.protected.index(name))
            yield Fault(where, "protected attributes in the spine only", f"`{name}` in features.sql", "remove it there")
    suite = read_document(folder.path / "suite.yaml")
    spine = list_output(use_case.spine_sql, spine_views(clean))
    known = None if output is None or spine is None else {*output, *spine}
    yield from _check_suite(suite, use_case.suite, known)


def _check_label(folder: _Folder, use_case: UseCase, clean: Mapping[str, Columns]) -> Iterator[Fault]:
    yield from check_label_sql(use_case, clean, folder.path)
    if use_case.label.observed_when is not None:
        output = list_output(use_case.label_sql, label_views(use_case, clean)) or ()
        yield from check_condition(use_case.label.observed_when, folder.where("label", "observed_when"), output)


def _check_promotion(folder: _Folder, use_case: UseCase) -> Iterator[Fault]:
    known, expected = _METRICS[use_case.task], f"a metric of a {use_case.task} task"
    if use_case.promotion.metric not in known:
        yield _unknown(folder.where("promotion", "metric"), expected, known, use_case.promotion.metric)
    for metric in use_case.promotion.floors:
        if metric not in known:
            yield _unknown(folder.where("promotion", "floors", metric), expected, known, metric)
    if use_case.promotion.fairness and use_case.task != "binary":
        where, expected = folder.where("promotion", "fairness"), "a binary task, whose decisions fairness is about"
        yield Fault(where, expected, use_case.task, "remove it")
    for attribute in use_case.promotion.fairness:
        if attribute not in use_case.protected:
            where = folder.where("promotion", "fairness", attribute)
            yield _unknown(where, "a protected attribute", use_case.protected, attribute)
    for name in use_case.promotion.slices:
        if name not in use_case.features.categorical:
            where = folder.where("promotion", "slices")
            yield _unknown(where, "a categorical feature", use_case.features.categorical, name)


def _check_limits(folder: _Folder, use_case: UseCase) -> Iterator[Fault]:
    if use_case.task != "binary" and (use_case.scoring.costs or use_case.scoring.threshold):
        yield Fault(
            folder.where("scoring"), f"no threshold and no costs for a {use_case.task} task", "one", "remove it"
        )
    names = [recipe.name for recipe in use_case.training.candidates]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Fault(folder.where("training", "candidates"), "each recipe once", f"`{name}` twice", "remove one")
    if use_case.training.judging_days >= use_case.training.window_days:
        found = f"{use_case.training.judging_days} of {use_case.training.window_days} days"
        yield Fault(folder.where("training", "judging_days"), "less than window_days", found, "judge on less")


def _check_allowed(folder: _Folder, use_case: UseCase, clean: Mapping[str, tuple[str, ...]]) -> Iterator[Fault]:
    of_sources = [f"{name}.{column}" for name, columns in clean.items() for column in columns]
    known = {*use_case.features.names, *of_sources}
    unreadable = tuple(f"{name}." for name, columns in clean.items() if not columns)
    for name in use_case.leakage.allowed:
        if name not in known and not name.startswith(unreadable):
            expected = "a feature, or `source.column` of a clean table"
            yield _unknown(folder.where("leakage", "allowed", name), expected, use_case.features.names, name)


def _check_retention(folder: _Folder, use_case: UseCase, sources: Mapping[str, Source]) -> Iterator[Fault]:
    reach, remedy = use_case.training_reach_days, "keep it longer, or shorten what reads it"
    if use_case.retention_days is not None and use_case.retention_days < reach:
        expected = f"at least {reach} days: a retraining reads its windows, the horizon and the settlement"
        yield Fault(folder.where("retention_days"), expected, str(use_case.retention_days), remedy)
    for name, days in ((name, sources[name].retention_days) for name in use_case.sources if name in sources):
        reach_of_records = use_case.record_reach_days(sources[name])
        where = folder.where("sources", name)
        if days is not None and reach_of_records is None:
            yield Fault(where, "a source kept for ever, for its lookback is unbounded", f"{days} days", remedy)
        elif days is not None and reach_of_records is not None and days < reach_of_records:
            expected = f"a source kept for at least {reach_of_records} days: its lookback before the training window"
            yield Fault(where, expected, f"{days} days", remedy)


def _check_suite(document: Document, suite: Suite, known: set[str] | None) -> Iterator[Fault]:
    for index, expectation in enumerate(suite.expectations):
        if not _EXPECTATION.fullmatch(expectation.expect):
            where = document.where(("expectations", index, "expect"))
            yield Fault(where, "a name like expect_column_values_to_be_between", expectation.expect, "correct it")
        columns = [expectation.kwargs.get(name) for name in ("column", "column_A", "column_B")]
        for column in [column for column in columns if isinstance(column, str)]:
            if known is not None and column not in known:
                yield _unknown(document.where(("expectations", index, "kwargs", "column")), "a column", known, column)


def _unknown(where: str, expected: str, known: Any, found: str) -> Fault:
    return Fault(where, f"{expected}: {', '.join(sorted(known)) or 'there is none'}", found, "correct the name")


def _export_schema(name: str, model: type[BaseModel]) -> str:
    """Describe what a person writes: spans are text, and what stands in other files is left out."""
    schema = model.model_json_schema(mode="validation")
    for hidden in [field for field, info in model.model_fields.items() if info.exclude]:
        schema["properties"].pop(hidden)
        schema["required"] = [required for required in schema["required"] if required != hidden]
    definitions = schema.get("$defs", {})
    if "Span" in definitions:
        definitions["Span"] = {
            "type": "string",
            "pattern": r"^\d+ (hour|day|month)s?$",
            "description": "e.g. 12 months",
        }
    schema["$defs"] = _reach(schema, definitions)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = f"nightloop {name}"
    return json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _reach(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the definitions that the schema refers to, directly or through others."""
    text = json.dumps({key: value for key, value in schema.items() if key != "$defs"})
    reached: dict[str, Any] = {}
    while new := [key for key in definitions if key not in reached and f'"#/$defs/{key}"' in text]:
        reached |= {key: definitions[key] for key in new}
        text = json.dumps(list(reached.values()))
    return reached
