"""What the leakage gate reads beside the training rows: windows in time, declared knowledge, and who reads a source."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, time

import numpy as np
import pyarrow as pa
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import lineage

from nightloop.dataset import DatasetRef
from nightloop.folders.schedule import first_tick_at_or_after, ticks
from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.leakage.availability import describe_rows, measure_later_dates, measure_rewriting
from nightloop.leakage.figure import Figure
from nightloop.leakage.overlap import Window
from nightloop.run import MAIN_VARIANT, Replay, parse_night
from nightloop.sql.check import list_output
from nightloop.stores.lake.files import LakeFiles

_DIALECT = "spark"


def make_window(use_case: UseCase, labels: pa.Table) -> Window:
    """Return labelled rows as the overlap rules want them; a row's entity is what its `row_id` names before the `@`."""
    from nightloop.asof.labels import add_span, complete_at

    decided = seconds_of(labels.column("decision_time"))
    horizon = use_case.label.horizon
    until = _once_each(decided, lambda second: add_span(datetime.fromtimestamp(second, UTC), horizon).timestamp())
    cohorts = {
        night: first_tick_at_or_after(use_case.schedule, complete_at(parse_night(night), use_case.label)).timestamp()
        for night in labels.column("cohort").unique().to_pylist()
    }
    complete = np.array([cohorts[night] for night in labels.column("cohort").to_pylist()])
    row_ids = labels.column("row_id").to_pylist()
    entities = [row_id.rpartition("@")[0] for row_id in row_ids]
    return Window(np.array(row_ids, dtype=str), np.array(entities, dtype=str), decided, until, complete)


def measure_declared(sources: Mapping[str, Source], lake: LakeFiles, as_of: datetime) -> list[Figure]:
    """Return what contradicts the knowledge that these sources declare."""
    found: list[Figure] = []
    for name, source in sources.items():
        described = _describe(source, lake, as_of)
        if described is not None and described.num_rows:
            found += [*measure_later_dates(name, described), measure_rewriting(name, described)]
    return found


def list_readers(use_case: UseCase, sources: Mapping[str, Source]) -> dict[str, list[str]]:
    """Return each source that features.sql reads and that declares its knowledge, with the features made from it.

    A feature that only counts or filters a source's rows names no column of it; where a feature's columns cannot be
    told, it is taken to read every source.
    """
    declared = [name for name, source in sources.items() if source.known_at.by != "arrival"]
    read_by: dict[str, list[str]] = {name: [] for name in _tables_of(use_case.features_sql, declared)}
    if not read_by:
        return {}
    schema = {name: dict.fromkeys(("row_id", *_clean_columns(source)), "string") for name, source in sources.items()}
    for feature in use_case.features.names:
        for name in _views_of(feature, use_case.features_sql, schema, tuple(read_by)):
            read_by[name].append(feature)
    return read_by


def seconds_of(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column of instants as seconds since 1970."""
    micros = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    return np.asarray(micros.to_numpy() / 1e6)


def _describe(source: Source, lake: LakeFiles, as_of: datetime) -> pa.Table | None:
    nights = tuple(ticks(source.schedule, datetime.combine(source.start, time(), UTC), as_of))
    ref = DatasetRef("clean", source.name)
    if not lake.nights(ref, MAIN_VARIANT):
        return None
    columns = [field.name for field in lake.table(ref).schema().fields]
    batches = lake.open(ref, Replay(source.name, nights, MAIN_VARIANT)).stream(columns)
    described = [describe_rows(pa.Table.from_batches([batch]), source.keys) for batch in batches if batch.num_rows]
    return pa.concat_tables(described) if described else None


def _views_of(feature: str, sql: str, schema: Mapping[str, Mapping[str, str]], sources: Sequence[str]) -> list[str]:
    try:
        leaves = list(lineage(feature, sql, schema=dict(schema), dialect=_DIALECT).walk())
    except (SqlglotError, ValueError):
        return _tables_of(sql, sources)
    read = {node.source.name for node in leaves if isinstance(node.source, exp.Table)}
    return [name for name in sources if name in read]


def _tables_of(sql: str, sources: Sequence[str]) -> list[str]:
    read = {table.name for table in sqlglot.parse_one(sql, read=_DIALECT).find_all(exp.Table)}
    return [name for name in sources if name in read]


def _clean_columns(source: Source) -> Sequence[str]:
    return list_output(source.clean_sql, {"raw": tuple(source.columns)}) or ()


def _once_each(values: np.ndarray, change: Callable[[float], float]) -> np.ndarray:
    # calendar arithmetic is Python's, row by row; decisions of a cohort share few instants
    found, places = np.unique(values, return_inverse=True)
    return np.array([change(value) for value in found])[places]
