"""What the lake must keep, from folders and ledger: nights that a retention lets go, feature versions in use."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from nightloop.dataset import DatasetRef, Layer
from nightloop.fault import Fault, NightloopError
from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.loop.night.asof_inputs import version_features

if TYPE_CHECKING:
    from nightloop.stores.ledger.ledger import Ledger

RECORDS: tuple[Layer, ...] = ("clean",)
SOURCE_LAYERS: Collection[Layer] = ("raw", "clean", "quarantine")
USE_CASE_LAYERS: Collection[Layer] = ("features", "labels", "scores")


@dataclass(frozen=True, slots=True)
class Expiry:
    """The nights of one table before an instant: its retention lets them go."""

    ref: DatasetRef
    before: datetime
    why: str


def plan_expiries(
    tables: Iterable[DatasetRef], use_cases: Mapping[str, UseCase], sources: Mapping[str, Source], ledger: "Ledger"
) -> list[Expiry]:
    """Return what the retentions let go, counted back from the last closed night of each folder.

    What an open training window or a lookback still reads is kept beyond the retention; tables without a folder are
    kept whole.
    """
    planned = []
    for ref in tables:
        if ref.layer in USE_CASE_LAYERS and ref.owner in use_cases:
            before, days = _use_case_cut(use_cases[ref.owner], ledger), use_cases[ref.owner].retention_days
        elif ref.layer in SOURCE_LAYERS and ref.owner in sources:
            source = sources[ref.owner]
            days = source.raw_retention_days if ref.layer == "raw" else source.retention_days
            before = _source_cut(source, ref.layer, days, use_cases, ledger)
        else:
            continue
        if before is not None:
            planned.append(Expiry(ref, before, f"retention of {days} days"))
    return planned


def list_unneeded(
    tables: Iterable[DatasetRef], use_cases: Mapping[str, UseCase], sources: Mapping[str, Source], ledger: "Ledger"
) -> list[DatasetRef]:
    """Return the feature versions that neither their folder as it is nor any registered model needs."""
    needed = {}
    for name, use_case in use_cases.items():
        joined = {source: sources[source] for source in use_case.sources if source in sources}
        # without one of its sources the present version has no name: then none is let go
        if len(joined) == len(use_case.sources):
            models = {model.feature_version for model in ledger.models(name)}
            needed[name] = {version_features(use_case, joined), *models}
    versions = [ref for ref in tables if ref.layer == "features" and ref.owner in needed]
    return [ref for ref in versions if ref.version not in needed[ref.owner]]


def assert_nights_kept(ledger: "Ledger", scope: str, layers: Collection[Layer], first: datetime) -> None:
    """Pass if no retention has dropped a night at or after `first` from any of a scope's layers.

    Raises:
        NightloopError: one has; a run over such nights would replace them by what is left of its input.
    """
    kept_from = ledger.expired_before(scope, layers)
    if kept_from is not None and first < kept_from:
        expected, found = f"nights from {kept_from.isoformat()} on", f"{first.isoformat()}, dropped by its retention"
        raise NightloopError(Fault(f"{', '.join(layers)} of {scope}", expected, found, "begin at a night that is kept"))


def assert_records_kept(ledger: "Ledger", sources: Mapping[str, Source], nights: Sequence[datetime]) -> None:
    """Pass if every source keeps the records that decisions of these nights look back at.

    Raises:
        NightloopError: a retention has dropped some.
    """
    for name, source in sources.items():
        back = timedelta(days=0 if source.lookback_days == "unbounded" else source.lookback_days)
        assert_nights_kept(ledger, name, RECORDS, min(nights) - back)


def _use_case_cut(use_case: UseCase, ledger: "Ledger") -> datetime | None:
    reached = _open_since(use_case, ledger)
    if use_case.retention_days is None or reached is None:
        return None
    return reached - timedelta(days=max(use_case.retention_days, use_case.training_reach_days))


def _source_cut(
    source: Source, layer: Layer, days: int | None, use_cases: Mapping[str, UseCase], ledger: "Ledger"
) -> datetime | None:
    closed = ledger.closed_nights(source.name)
    if days is None or not closed:
        return None
    cuts = [closed[-1] - timedelta(days=days)]
    # of a source, use cases read the clean rows alone
    readers = [one for one in use_cases.values() if source.name in one.sources] if layer == "clean" else []
    for use_case in readers:
        reach, since = use_case.record_reach_days(source), _open_since(use_case, ledger)
        if reach is None or since is None:
            return None
        cuts.append(since - timedelta(days=reach))
    return min(cuts)


def _open_since(use_case: UseCase, ledger: "Ledger") -> datetime | None:
    """Return the oldest night as of which a retraining may still run: of an open request, else the last closed one."""
    closed = ledger.closed_nights(use_case.name)
    return min((closed[-1], *(row.as_of for row in ledger.open_requests(use_case.name)))) if closed else None
