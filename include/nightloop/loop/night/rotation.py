"""Which joins survive a change of the PII key: hashes of one value under two keys never meet."""

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from nightloop.folders.identity import raw_columns, spine_columns
from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.loop.night.received import keys_by_night
from nightloop.run import MAIN_VARIANT
from nightloop.stores.ledger.ledger import Ledger

log = logging.getLogger("nightloop.rotation")


@dataclass(frozen=True)
class HashedJoin:
    """Hashed columns that must be equal to meet, by source, and where: in a use case, or in a source's own keys."""

    where: str
    columns: tuple[tuple[str, str], ...]
    keys: tuple[str, ...]

    @property
    def survives(self) -> bool:
        return len(self.keys) <= 1

    def __str__(self) -> str:
        named = " = ".join(f"{source}.{column}" for source, column in self.columns)
        return f"{self.where}: {named}" if len(self.columns) > 1 else f"{self.where}: records of {named}"


def count_nights(ledger: Ledger, source: str, last: datetime | None = None) -> Counter[str]:
    """Return how many nights of a source were hashed under each key, up to a night."""
    nights = keys_by_night(ledger, source, MAIN_VARIANT)
    return Counter(key for night, key in nights.items() if last is None or night <= last)


def list_joins(
    use_case: UseCase, sources: Mapping[str, Source], keys: Mapping[str, Collection[str]]
) -> Iterator[HashedJoin]:
    """Yield what a use case joins by hashed columns: sources with each other, and versions of one source's records."""
    met: dict[str, dict[tuple[str, str], None]] = {}
    for spine, (name, column) in spine_columns(use_case, sources).items():
        met.setdefault(spine, {})[name, column] = None
    for name, joined in use_case.sources.items():
        for column, spine in joined.join.items():
            met.setdefault(spine, {})[name, column] = None
        for column in sources[name].keys:
            if _is_hashed(sources[name], column):
                yield HashedJoin(name, ((name, column),), tuple(sorted(keys[name])))
    for columns in met.values():
        if len(columns) > 1 and any(_is_hashed(sources[name], column) for name, column in columns):
            known = {key for name, _ in columns for key in keys[name]}
            yield HashedJoin(use_case.name, tuple(columns), tuple(sorted(known)))


def describe_broken(use_case: UseCase, sources: Mapping[str, Source], ledger: Ledger, last: datetime) -> dict[str, str]:
    """Warn of joins of which some rows, known by a night, do not meet; return them as the fact `parted`, if any."""
    keys = {name: count_nights(ledger, name, last) for name in sources}
    broken = ", ".join(str(join) for join in list_joins(use_case, sources, keys) if not join.survives)
    if broken:
        log.warning("rows hashed under different keys do not meet; see `nightloop keys list`: %s", broken)
    return {"parted": broken} if broken else {}


def _is_hashed(source: Source, column: str) -> bool:
    raw = raw_columns(source).get(column, column)
    return raw in source.pii and source.pii[raw].treatment == "hash"
