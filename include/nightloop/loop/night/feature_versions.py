"""Which feature versions a run computes: the folder's, and the one that the champion of each night was trained on."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from nightloop.dataset import DatasetRef
from nightloop.fault import Fault, NightloopError
from nightloop.folders.feature_definition import FeatureDefinition
from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.loop.night.asof_inputs import load_sources, version_features
from nightloop.loop.night.refusals import list_changed, list_refusals
from nightloop.run import Replay, format_night

if TYPE_CHECKING:
    from nightloop.stores.lake.files import LakeFiles
    from nightloop.stores.ledger.ledger import Ledger

LoadSource = Callable[[str], Source]


@dataclass(frozen=True)
class FeatureSet:
    """One feature version, with the folders as they were when it was theirs."""

    version: str
    use_case: UseCase
    sources: Mapping[str, Source]

    @property
    def ref(self) -> DatasetRef:
        return DatasetRef("features", self.use_case.name, self.version)


@dataclass(frozen=True)
class FeatureBuild:
    """What a run does for one feature version: nights to compute, and nights it cannot compute, with the reason.

    `is_served`: the champion of a night was trained on this version, or there is no champion: a failure is the night's.
    """

    features: FeatureSet
    nights: tuple[datetime, ...]
    refused: Mapping[datetime, str]
    is_served: bool = True

    def replay_of(self, replay: Replay) -> Replay:
        # stated, for knowledge defaults to the last night, and these may end before the run does
        return replace(replay, nights=self.nights, known_to=replay.knowledge)


@dataclass(frozen=True)
class BuiltFeatures:
    """One feature version and the nights of a replay for which it was built."""

    features: FeatureSet
    nights: tuple[datetime, ...]


def present_features(use_case: UseCase, load_source: LoadSource) -> FeatureSet:
    """Return the feature version of the folders as they are now."""
    sources = load_sources(use_case, load_source)
    return FeatureSet(version_features(use_case, sources), use_case, sources)


def find_features(version: str, present: FeatureSet, load_source: LoadSource, ledger: "Ledger") -> FeatureSet:
    """Return a feature version, restored from its definition where the folders have changed since.

    Raises:
        NightloopError: no definition was kept, a source of it is gone, or this release would compute it otherwise.
    """
    if version == present.version:
        return present
    use_case, where = present.use_case, f"feature version {version} of {present.use_case.name}"
    document = ledger.definition(use_case.name, version)
    if document is None:
        remedy = "give the folders back the SQL of that version and run build_features for a night, or retrain"
        raise NightloopError(Fault(where, "its definition in the ledger", "none", remedy))
    try:
        definition = FeatureDefinition.model_validate(document)
    except ValidationError as error:
        found = f"one of {error.error_count()} entries that it does not know or misses"
        raise NightloopError(Fault(where, "a definition that this release reads", found, "retrain")) from None
    restored = definition.restore(use_case, {name: load_source(name) for name in definition.sources})
    computed = version_features(*restored)
    if computed != version:
        found = f"{computed}: this release computes features otherwise"
        raise NightloopError(Fault(where, f"version {version}", found, "retrain, or run the release that built it"))
    return FeatureSet(version, *restored)


def served_version(ledger: "Ledger", present: FeatureSet, night: datetime) -> str:
    """Return the version whose features the champion of a night reads; the folder's where there is no champion."""
    champion = ledger.champion(present.use_case.name, night)
    return present.version if champion is None else champion.feature_version


def plan_nights(
    present: FeatureSet, replay: Replay, ledger: "Ledger", lake: "LakeFiles", load_source: LoadSource
) -> list[FeatureBuild]:
    """Return what the nights of a replay compute: the champions' versions first, then the folder's, once where equal.

    A night of the folder's version that cannot be computed is refused, unless its champion reads that very version.

    Raises:
        NightloopError: a champion's version cannot be computed any more.
    """
    served: dict[str, list[datetime]] = {}
    for night in replay.nights:
        served.setdefault(served_version(ledger, present, night), []).append(night)
    builds = []
    for version, nights in served.items():
        features = find_features(version, present, load_source, ledger)
        if changed := list_changed(features.use_case, features.sources, nights, ledger, lake):
            raise NightloopError([_explain(features, present, night, reason) for night, reason in changed.items()])
        builds.append(FeatureBuild(features, tuple(nights), {}))
    others = [night for night in replay.nights if night not in served.get(present.version, ())]
    if others:
        refused = list_changed(present.use_case, present.sources, others, ledger, lake)
        nights = [night for night in others if night not in refused]
        builds.append(FeatureBuild(present, tuple(nights), refused, is_served=False))
    return builds


def plan_refill(
    present: FeatureSet, replay: Replay, ledger: "Ledger", lake: "LakeFiles", load_source: LoadSource
) -> list[FeatureBuild]:
    """Return what a training window misses of the versions that a retraining compares: the folder's, the champion's."""
    versions = dict.fromkeys((present.version, served_version(ledger, present, replay.last)))
    builds = [_plan_refill(version, present, replay, ledger, lake, load_source) for version in versions]
    return [build for build in builds if build.nights or build.refused]


def _plan_refill(
    version: str, present: FeatureSet, replay: Replay, ledger: "Ledger", lake: "LakeFiles", load_source: LoadSource
) -> FeatureBuild:
    """Plan one version; one that cannot be restored is refused, so that a retraining can replace it."""
    built = built_nights(DatasetRef("features", replay.scope, version), replay, ledger, lake)
    missing = [night for night in replay.nights if night not in built]
    try:
        features = find_features(version, present, load_source, ledger)
    except NightloopError as error:
        return FeatureBuild(FeatureSet(version, present.use_case, {}), (), dict.fromkeys(missing, str(error)))
    refused = list_refusals(features.use_case, features.sources, missing, ledger, lake)
    return FeatureBuild(features, tuple(night for night in missing if night not in refused), refused)


def built_nights(ref: DatasetRef, replay: Replay, ledger: "Ledger", lake: "LakeFiles") -> set[datetime]:
    """Return the nights of a replay that a table holds, those among them that were built and are empty."""
    stored = lake.nights(ref, replay.variant)
    empty = {name for name, build in ledger.builds(ref.owner, str(ref), replay.variant).items() if not build.rows}
    return {night for night in replay.nights if format_night(night) in stored | empty}


def list_built(
    present: FeatureSet, replay: Replay, ledger: "Ledger", lake: "LakeFiles", load_source: LoadSource
) -> list[BuiltFeatures]:
    """Return the champions' versions and the folder's, as far as they were built for nights of a replay.

    Raises:
        NightloopError: none was built for any night.
    """
    versions = dict.fromkeys([*(served_version(ledger, present, night) for night in replay.nights), present.version])
    built: list[BuiltFeatures] = []
    for version in versions:
        nights = built_nights(DatasetRef("features", replay.scope, version), replay, ledger, lake)
        with suppress(NightloopError):  # one that cannot be restored was profiled in its own nights
            features = find_features(version, present, load_source, ledger)
            built += [BuiltFeatures(features, tuple(sorted(nights)))] if nights else []
    if not built:
        assert_built(present.ref, replay, ledger, lake)
    return built


def assert_built(ref: DatasetRef, replay: Replay, ledger: "Ledger", lake: "LakeFiles") -> None:
    """Pass if a feature version was built for every night of a replay; a night without rows counts.

    Raises:
        NightloopError: names the first night that was not.
    """
    missing = sorted(set(replay.nights) - built_nights(ref, replay, ledger, lake))
    if missing:
        found = f"{len(missing)} were not, first {format_night(missing[0])}"
        where, remedy = f"lake table {ref}", "run build_features for them: it computes the champion's version too"
        raise NightloopError(Fault(where, f"{len(replay.nights)} nights built", found, remedy))


def _explain(features: FeatureSet, present: FeatureSet, night: datetime, reason: str) -> Fault:
    where = f"features/{features.use_case.name}/{features.version}, night {format_night(night)}"
    remedy = "run clean_source again for the nights named"
    if features.version != present.version:
        remedy = (
            "the champion reads this version: give clean.sql its old columns back beside the new ones, and remove them "
            f"after the next promotion; or, where only old nights differ, {remedy}"
        )
    return Fault(where, "clean columns as this version knows them", reason, remedy)
