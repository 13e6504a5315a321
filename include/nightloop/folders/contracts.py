"""What each SQL file of the folders sees, and what it must return."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from nightloop.fault import Fault, NightloopError
from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.sql.check import SqlContract, check_sql, list_output

ADDED_TO_RAW = ("known_at",)
ADDED_TO_CLEAN = ("known_at", "known_by", "_file", "_row")
_HIDDEN_OF_CLEAN = ("_file", "_row", "night", "variant")
_HIDDEN_OF_SPINE = ("as_of", "night", "variant")
Columns = tuple[str, ...]


def raw_columns(source: Source) -> Columns:
    """Return the declared columns that reach the lake."""
    dropped = {column for column, treatment in source.pii.items() if treatment.treatment == "drop"}
    return tuple(column for column in source.columns if column not in dropped)


def raw_views(source: Source) -> dict[str, Columns]:
    """Return what clean.sql sees."""
    return {"raw": (*raw_columns(source), *ADDED_TO_RAW)}


def clean_columns(source: Source) -> Columns:
    """Return the columns of a clean table that views have, or none where they cannot be told."""
    output = list_output(source.clean_sql, {"raw": raw_columns(source)})
    return () if output is None else _visible((*output, *ADDED_TO_CLEAN), _HIDDEN_OF_CLEAN)


def clean_columns_of(use_case: UseCase, sources: Mapping[str, Source]) -> dict[str, Columns]:
    """Return the clean columns of every source of a use case; none of one that is missing."""
    return {name: clean_columns(sources[name]) if name in sources else () for name in use_case.sources}


def spine_views(clean: Mapping[str, Columns]) -> dict[str, Columns]:
    """Return what spine.sql sees."""
    views: dict[str, Columns] = {"nights": ("as_of", "previous_as_of")}
    for name, columns in clean.items():
        seen = (*columns, "as_of") if columns else ()
        views |= {name: seen, f"{name}_new": seen}
    return views


def feature_views(use_case: UseCase, clean: Mapping[str, Columns]) -> dict[str, Columns]:
    """Return what features.sql sees."""
    return _scoped_views(use_case, clean, "")


def label_views(use_case: UseCase, clean: Mapping[str, Columns]) -> dict[str, Columns]:
    """Return what label.sql sees."""
    return _scoped_views(use_case, clean, "_after")


def check_spine_sql(use_case: UseCase, clean: Mapping[str, Columns], folder: Path | str) -> list[Fault]:
    contract = SqlContract(spine_views(clean), (*use_case.entity, "decision_time"))
    return check_sql(use_case.spine_sql, f"{folder}/spine.sql", contract)


def check_features_sql(use_case: UseCase, clean: Mapping[str, Columns], folder: Path | str) -> list[Fault]:
    contract = SqlContract(feature_views(use_case, clean), ("row_id", *use_case.features.names))
    return check_sql(use_case.features_sql, f"{folder}/features.sql", contract)


def check_label_sql(use_case: UseCase, clean: Mapping[str, Columns], folder: Path | str) -> list[Fault]:
    contract = SqlContract(label_views(use_case, clean), ("row_id", "label"))
    return check_sql(use_case.label_sql, f"{folder}/label.sql", contract)


def assert_features_sql(use_case: UseCase, sources: Mapping[str, Source]) -> None:
    """Pass if clean, spine and features SQL may run; a job asks before it opens a Spark session.

    Raises:
        NightloopError: names each fault with file, line, and what exists.
    """
    faults = list(_check_features(use_case, sources))
    if faults:
        raise NightloopError(faults)


def _check_features(use_case: UseCase, sources: Mapping[str, Source]) -> Iterator[Fault]:
    for name, source in sources.items():
        contract = SqlContract(raw_views(source), is_row_wise=True)
        yield from check_sql(source.clean_sql, f"sources/{name}/clean.sql", contract)
    clean, folder = clean_columns_of(use_case, sources), f"use_cases/{use_case.name}"
    yield from check_spine_sql(use_case, clean, folder)
    yield from check_features_sql(use_case, clean, folder)


def _scoped_views(use_case: UseCase, clean: Mapping[str, Columns], suffix: str) -> dict[str, Columns]:
    spine = list_output(use_case.spine_sql, spine_views(clean))
    own = () if spine is None else _visible(("row_id", *spine), _HIDDEN_OF_SPINE)
    views = {f"{name}{suffix}": ("row_id", *columns) if columns else () for name, columns in clean.items()}
    return {"spine": own, **views}


def _visible(columns: Columns, hidden: Columns) -> Columns:
    return tuple(name for name in dict.fromkeys(columns) if name not in hidden)
