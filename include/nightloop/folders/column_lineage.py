"""Column lineage from the SQL itself: which columns of which sources each feature is made from, through clean.sql."""

from collections.abc import Iterable, Mapping
from itertools import chain

from nightloop.folders.contracts import clean_columns_of, feature_views, raw_views, spine_views
from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.sql.columns import EVERY, TracedSelect

Origins = Mapping[str, frozenset[str]]


def column_lineage(use_case: UseCase, sources: Mapping[str, Source]) -> dict[str, tuple[str, ...]]:
    """Return, for each column of the feature table, the `source.column`s as received that its values are made from.

    Spine columns come first, then those of features.sql; `row_id` is left out. Conditions and joins do not count.
    `source.*` stands for counted records, `source.known_at` for when a record became known.

    Raises:
        NightloopError: a SQL file cannot be traced; `nightloop validate` says where.
    """
    clean = clean_columns_of(use_case, sources)
    cleaned = {f"{name}.{column}": made for name in sources for column, made in trace_clean(sources[name]).items()}
    counted = {f"{name}.{EVERY}": frozenset({f"{name}.{EVERY}"}) for name in sources}
    known: Origins = {**cleaned, **counted}
    known = {**known, **{_as_new(column): made for column, made in known.items()}}
    spine = _trace(use_case.spine_sql, spine_views(clean), known)
    known = {**known, **{f"spine.{column}": made for column, made in spine.items()}}
    features = _trace(use_case.features_sql, feature_views(use_case, clean), known)
    written = {name.lower(): name for name in (*use_case.entity, *use_case.protected, *use_case.features.names)}
    columns = {name: made for name, made in {**spine, **features}.items() if name not in {"row_id", "as_of"}}
    return {written.get(name, name): tuple(sorted(made)) for name, made in columns.items()}


def trace_clean(source: Source) -> Origins:
    """Return, for each clean column of a source, the `source.column`s as received that it is made from."""
    traced = TracedSelect(source.clean_sql, raw_views(source))
    made = {
        output: frozenset(f"{source.name}.{column}" for _, column in traced.origins(output))
        for output in traced.outputs
    }
    return {**made, "known_at": frozenset({f"{source.name}.known_at"})}


def _trace(sql: str, views: Mapping[str, Iterable[str]], known: Origins) -> Origins:
    """Lead the outputs of a query back through what is known of its views; columns of no source lead nowhere."""
    traced = TracedSelect(sql, {view: tuple(columns) for view, columns in views.items()})
    return {
        output: frozenset(
            chain.from_iterable(known.get(f"{view}.{column}", ()) for view, column in traced.origins(output))
        )
        for output in traced.outputs
    }


def _as_new(column: str) -> str:
    """Name a column as the view of what each night learned first has it: `trips.fare` is `trips_new.fare` too."""
    view, _, name = column.partition(".")
    return f"{view}_new.{name}"
