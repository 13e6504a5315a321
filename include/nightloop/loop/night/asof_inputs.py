"""What a replay of a use case reads: its sources' clean rows as as-of views want them, and its nights."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

from nightloop.asof.params import SourceView
from nightloop.asof.version import feature_version
from nightloop.dataset import DatasetRef
from nightloop.fault import Fault, NightloopError
from nightloop.folders.contracts import ADDED_TO_CLEAN, clean_columns
from nightloop.folders.schedule import first_tick_at_or_after, last_tick_at_or_before, next_tick, previous_tick
from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.run import MAIN_VARIANT, Replay, format_night, parse_instant, parse_night

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from nightloop.asof.visible import AsofSource, Night
    from nightloop.stores.lake.lake import Lake
    from nightloop.stores.ledger.ledger import Ledger

_ENGINE_VERSION = "2"  # raise it when the as-of views would give other rows for the same folder


def load_sources(use_case: UseCase, load_source: Callable[[str], Source]) -> dict[str, Source]:
    """Return the sources that a use case joins, by name."""
    return {name: load_source(name) for name in use_case.sources}


def open_sources(
    use_case: UseCase,
    sources: Mapping[str, Source],
    lake: "Lake",
    knowledge: datetime,
    variant: str = MAIN_VARIANT,
) -> "dict[str, AsofSource]":
    """Return the clean rows of every source that were loaded by `knowledge`, unread as yet.

    A night that a source has in the run's own variant, such as `restated`, is read from it, every other one from main.
    """
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
            rows=_as_defined(_read_clean(lake, DatasetRef("clean", name), knowledge, variant), source),
            opened=_list_opened(source, lake.root) if source.known_at.by == "column" else None,
        )
        for name, source in sources.items()
    }


def open_past(
    use_case: UseCase, sources: Mapping[str, Source], lake: "Lake", knowledge: datetime, night: datetime
) -> "dict[str, AsofSource]":
    """Return the clean rows of every source less all that the night could not know yet."""
    from nightloop.asof.proof import delete_future

    past = {}
    for name, opened in open_sources(use_case, sources, lake, knowledge).items():
        schedule = sources[name].schedule
        past[name] = delete_future(opened, night, last_tick_at_or_before(schedule, night), next_tick(schedule, night))
    return past


def choose_night(stored: Collection[str], replay: Replay, asked: str | None = None) -> datetime | None:
    """Return the stored night that a run proves: drawn by its own night, an earlier one where there is any.

    Raises:
        NightloopError: the night asked for is not stored.
    """
    if asked is not None:
        night = parse_instant(asked)
        if format_night(night) not in stored:
            found = f"{len(stored)} nights" + (f" from {min(stored)} to {max(stored)}" if stored else "")
            raise NightloopError(
                Fault(
                    f"night {asked} of {replay.scope}", "a night whose features are stored", found, "name one of them"
                )
            )
        return night
    own = replay.run_key.night
    candidates = [night for night in stored if night < own] or [night for night in stored if night == own]
    # by a hash, not by chance: a retry proves the same night
    drawn = min(candidates, key=lambda night: hashlib.sha256(f"{own}/{night}".encode()).digest(), default=None)
    return parse_night(drawn) if drawn is not None else None


def _read_clean(lake: "Lake", ref: DatasetRef, knowledge: datetime, variant: str) -> "DataFrame":
    from pyspark.sql import functions as F

    from nightloop.stores.lake.files import LakeFiles

    main = lake.read(ref, MAIN_VARIANT, last=knowledge)
    own = sorted(LakeFiles(lake.root).nights(ref, variant)) if variant != MAIN_VARIANT else []
    if not own:
        return main
    return main.where(~F.col("night").isin(own)).unionByName(lake.read(ref, variant, last=knowledge))


def _list_opened(source: Source, root: str) -> dict[str, datetime]:
    """Return for each night of a clean table the tick before it."""
    from nightloop.stores.lake.files import LakeFiles

    nights = LakeFiles(root).nights(DatasetRef("clean", source.name), MAIN_VARIANT)
    return {night: previous_tick(source.schedule, parse_night(night)) for night in sorted(nights)}


def version_features(use_case: UseCase, sources: Mapping[str, Source]) -> str:
    """Return the version under which the use case's features are stored and pinned."""
    schemas: dict[str, object] = {
        name: source.model_dump(
            mode="json",
            include={"columns", "keys", "known_at", "event_time", "tombstone", "lookback_days", "pii"},
            exclude={"columns": {"__all__": {"description"}}},  # words for people change no value
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
        # before its first tick a source has nothing to close
        missing = sorted(tick for tick in needed - set(ledger.closed_nights(name)) if tick >= begins)
        if missing:
            found = f"{len(missing)} open, first {missing[0].isoformat()}"
            remedy = f"run land_source and clean_source of {name} for it"
            faults.append(Fault(f"source {name} for {replay.run_key}", f"{len(needed)} closed nights", found, remedy))
    if faults:
        raise NightloopError(faults)
