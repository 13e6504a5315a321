"""Nights whose features cannot be computed as they would have been that night, each with its reason."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from nightloop.dataset import DatasetRef
from nightloop.folders.feature_definition import CleanNeeds, clean_needs
from nightloop.folders.schedule import first_tick_at_or_after, last_tick_at_or_before, previous_tick
from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.run import MAIN_VARIANT, RunKey, format_night, parse_night

if TYPE_CHECKING:
    from nightloop.stores.lake.files import LakeFiles
    from nightloop.stores.ledger.ledger import Ledger

_EVER = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class CleanNights:
    """The nights of one clean table that spoil what reads them."""

    source: Source
    changed: Mapping[datetime, str]
    dropped: Collection[datetime]

    def seen_from(self, night: datetime, schedule: str) -> tuple[datetime, datetime | None]:
        """Return the span of clean nights that a night may read; it has no end where rows declare their instants."""
        lookback = self.source.lookback_days
        since = _EVER if lookback == "unbounded" else previous_tick(schedule, night) - timedelta(days=lookback)
        return since, None if self.source.known_at.by == "column" else night

    def reasons(self, night: datetime, schedule: str) -> Iterator[str]:
        since, until = self.seen_from(night, schedule)
        for found, what in ((self.changed, "was cleaned otherwise"), (self.dropped, "was dropped from the lake")):
            seen = sorted(at for at in found if at > since and (until is None or at <= until))
            if seen:
                rest = f" and {len(seen) - 1} more nights" if len(seen) > 1 else ""
                columns = f" ({self.changed[seen[0]]})" if found is self.changed else ""
                yield f"clean/{self.source.name} of {format_night(seen[0])}{rest} {what}{columns}"


def list_changed(
    use_case: UseCase, sources: Mapping[str, Source], nights: Sequence[datetime], ledger: "Ledger", lake: "LakeFiles"
) -> dict[datetime, str]:
    """Return the nights that would read clean rows whose needed columns another clean.sql made, or did not make."""
    needs = clean_needs(use_case, sources)
    clean = [
        CleanNights(source, _list_changed(source, needs[name], ledger, lake), ()) for name, source in sources.items()
    ]
    return _explain(nights, clean, use_case.schedule)


def list_refusals(
    use_case: UseCase, sources: Mapping[str, Source], nights: Sequence[datetime], ledger: "Ledger", lake: "LakeFiles"
) -> dict[datetime, str]:
    """Return the nights that cannot be refilled: a source is open or began later, rows are gone or made otherwise."""
    needs = clean_needs(use_case, sources)
    clean = [
        CleanNights(source, _list_changed(source, needs[name], ledger, lake), _list_dropped(source, ledger, lake))
        for name, source in sources.items()
    ]
    closed = {name: set(ledger.closed_nights(name)) for name in sources}
    early = {night: reason for night in nights if (reason := _find_open(night, sources, closed))}
    early |= _list_taught(use_case, sources, [night for night in nights if night not in early], ledger, lake)
    rest = [night for night in nights if night not in early]
    return dict(sorted({**early, **_explain(rest, clean, use_case.schedule)}.items()))


def _explain(nights: Sequence[datetime], clean: Sequence[CleanNights], schedule: str) -> dict[datetime, str]:
    found = {night: "; ".join(reason for one in clean for reason in one.reasons(night, schedule)) for night in nights}
    return {night: reason for night, reason in found.items() if reason}


def _find_open(
    night: datetime, sources: Mapping[str, Source], closed: Mapping[str, Collection[datetime]]
) -> str | None:
    reasons = []
    for name, source in sources.items():
        tick = last_tick_at_or_before(source.schedule, night)
        if tick in closed[name]:
            continue
        begins = first_tick_at_or_after(source.schedule, datetime.combine(source.start, time(), UTC))
        why = f"begins on {begins:%Y-%m-%d}" if tick < begins else f"has not closed {format_night(tick)}"
        reasons.append(f"source {name} {why}")
    return "; ".join(reasons) or None


def _list_taught(
    use_case: UseCase, sources: Mapping[str, Source], nights: Sequence[datetime], ledger: "Ledger", lake: "LakeFiles"
) -> dict[datetime, str]:
    """Return the closed nights for which rows came later that declare to have been known: unseen by the night."""
    known_to = {night: ledger.known_to(RunKey(use_case.name, night)) for night in nights}
    taught: dict[datetime, str] = {}
    for name, source in sources.items():
        ref = DatasetRef("clean", name)
        declares = source.known_at.by == "column"
        least = lake.least(ref, "known_at", MAIN_VARIANT) if declares else {}
        for brought, known in sorted(least.items()):
            for night, knowledge in known_to.items():
                if knowledge is not None and parse_night(brought) > knowledge and known <= night:
                    taught.setdefault(night, f"{ref} of {brought} brought records that the night did not know")
    return taught


def _list_changed(source: Source, needs: CleanNeeds, ledger: "Ledger", lake: "LakeFiles") -> dict[datetime, str]:
    """Return the stored nights of a clean table that lack what is needed.

    A night without a record, cleaned before there were any, is taken as it is.
    """
    ref = DatasetRef("clean", source.name)
    builds, stored = ledger.builds(source.name, str(ref)), lake.nights(ref, MAIN_VARIANT)
    versions = {build.version for night, build in builds.items() if night in stored}
    kept = {version: ledger.definition(source.name, version) or {} for version in versions}
    differing = {version: needs.differing(cleaning) for version, cleaning in kept.items()}
    return {
        build.as_of: f"columns {', '.join(differing[build.version])}"
        for night, build in builds.items()
        if night in stored and differing[build.version]
    }


def _list_dropped(source: Source, ledger: "Ledger", lake: "LakeFiles") -> list[datetime]:
    """Return the nights that were cleaned and held rows, and are no longer in the lake."""
    ref = DatasetRef("clean", source.name)
    stored = lake.nights(ref, MAIN_VARIANT)
    filled = (night for night, build in ledger.builds(source.name, str(ref)).items() if build.rows)
    return [parse_night(night) for night in filled if night not in stored]
