"""What a replay of a use case reads: its sources' clean rows as as-of views want them, and its nights."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

from nightloop.asof.params import SourceView
from nightloop.asof.version import feature_version
from nightloop.dataset import DatasetRef
from nightloop.fault import Fault, NightloopError
from nightloop.run import MAIN_VARIANT, Replay
from nightloop.schedule import first_tick_at_or_after, last_tick_at_or_before, previous_tick
from nightloop.source import Source
from nightloop.sql_contracts import ADDED_TO_CLEAN, clean_columns
from nightloop.use_case import UseCase

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from nightloop.asof.visible import AsofSource, Night
    from nightloop.stores.lake import Lake
    from nightloop.stores.ledger import Ledger

_ENGINE_VERSION = "1"  # raise it when the as-of views would give other rows for the same folder


def load_sources(use_case: UseCase, load_source: Callable[[str], Source]) -> dict[str, Source]:
    """Return the sources that a use case joins, by name."""
    return {name: load_source(name) for name in use_case.sources}


def open_sources(
    use_case: UseCase, sources: Mapping[str, Source], lake: "Lake", knowledge: datetime
) -> "dict[str, AsofSource]":
    """Return the clean rows of every source that were loaded by `knowledge`, unread as yet."""
    from nightloop.asof.visible import AsofSource

    return {
        name: AsofSource(
            view=SourceView(
                name=name,
                record_keys=source.keys,
                join=use_case.sources[name].join,
                lookback_days=source.lookback_days,
                event_time=source.event_time,
                tombstone=source.tombstone,
            ),
            rows=_as_defined(lake.read(DatasetRef("clean", name), MAIN_VARIANT, last=knowledge), source),
            is_known_by_column=source.known_at.by == "column",
        )
        for name, source in sources.items()
    }


def version_features(use_case: UseCase, sources: Mapping[str, Source]) -> str:
    """Return the version under which the use case's features are stored and pinned."""
    schemas: dict[str, object] = {
        name: source.model_dump(
            mode="json",
            include={"columns", "keys", "known_at", "event_time", "tombstone", "lookback_days", "pii"},
            exclude={"columns": {"__all__": {"description"}}},
        )
        | {"join": use_case.sources[name].join}
        for name, source in sources.items()
    }
    schemas[""] = {"entity": use_case.entity, "features": use_case.features.model_dump(mode="json")}
    clean_sqls = {name: source.clean_sql for name, source in sources.items()}
    return feature_version(clean_sqls, use_case.spine_sql, use_case.features_sql, schemas, _ENGINE_VERSION)


def _as_defined(rows: "DataFrame", source: Source) -> "DataFrame":
    """Return the clean rows with the columns that this clean.sql makes; newer ones may have added to the table."""
    own = {column.lower() for column in (*clean_columns(source), *ADDED_TO_CLEAN, "night", "variant")}
    return rows.select(*(name for name in rows.columns if name.lower() in own))


def list_nights(schedule: str, instants: Sequence[datetime]) -> "list[Night]":
    """Return the nights with the ticks before them."""
    from nightloop.asof.visible import Night

    return [Night(as_of, previous_tick(schedule, as_of)) for as_of in instants]


def assert_sources_closed(sources: Mapping[str, Source], replay: Replay, ledger: "Ledger") -> None:
    """Pass if every source has closed its youngest tick at or before each night of the replay.

    Raises:
        NightloopError: names each source and the first tick that is open.
    """
    faults = []
    for name, source in sources.items():
        begins = first_tick_at_or_after(source.schedule, datetime.combine(source.start, time(), UTC))
        needed = {last_tick_at_or_before(source.schedule, night) for night in replay.nights}
        missing = sorted(tick for tick in needed - set(ledger.closed_nights(name)) if tick >= begins)
        if missing:
            found = f"{len(missing)} open, first {missing[0].isoformat()}"
            remedy = f"run land_source and clean_source of {name} for it"
            faults.append(Fault(f"source {name} for {replay.run_key}", f"{len(needed)} closed nights", found, remedy))
    if faults:
        raise NightloopError(faults)
