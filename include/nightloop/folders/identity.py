"""Which columns of a folder carry the values of another folder's columns, by the folders' own SQL."""

from collections.abc import Mapping

from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.sql.origin import find_origins

_NEW = "_new"


def raw_columns(source: Source) -> dict[str, str]:
    """Return the received column behind each clean column that is made of one."""
    origins = find_origins(source.clean_sql, {"raw": [*source.columns, "known_at"]})
    return {clean: raw for clean, (_, raw) in origins.items() if raw in source.columns}


def spine_columns(use_case: UseCase, sources: Mapping[str, Source]) -> dict[str, tuple[str, str]]:
    """Return the source and its clean column behind each column of the spine that is made of one."""
    views: dict[str, list[str]] = {"nights": ["as_of", "previous_as_of"]}
    for name in use_case.sources:
        columns = [*raw_columns(sources[name]), "known_at", "as_of"]
        views |= {name: columns, f"{name}{_NEW}": columns}
    origins = find_origins(use_case.spine_sql, views)
    named = {spine: (view.removesuffix(_NEW), column) for spine, (view, column) in origins.items()}
    return {spine: origin for spine, origin in named.items() if origin[0] in use_case.sources}
