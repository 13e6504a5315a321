"""What a run of `build_features` records and reports of each feature version."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from nightloop.dataset import DatasetRef
from nightloop.fault import FencedError, NightloopError
from nightloop.folders.feature_definition import FeatureDefinition
from nightloop.loop.night.feature_versions import FeatureBuild, FeatureSet, built_nights
from nightloop.run import Replay, RunKey, format_night
from nightloop.verdict import Check

if TYPE_CHECKING:
    from nightloop.stores.lake.files import LakeFiles
    from nightloop.stores.ledger.ledger import Ledger

log = logging.getLogger("nightloop.features")
REFILL = "refill"
_REASONS_SHOWN = 3
Outcome: TypeAlias = int | str


def build_each(builds: Sequence[FeatureBuild], build: Callable[[FeatureBuild], int]) -> list[Outcome]:
    """Build version by version; return for each its rows, or why it failed where no champion reads it."""
    outcomes: list[Outcome] = []
    for one in builds:
        try:
            outcomes.append(build(one) if one.nights else 0)
        # a NightloopError too, but of this attempt, whatever the version
        except FencedError:
            raise
        except NightloopError as error:
            if one.is_served:
                raise
            log.warning("feature version %s, which no champion reads, is left out:\n%s", one.features.version, error)
            outcomes.append(str(error))
    return outcomes


def record_build(ledger: "Ledger", features: FeatureSet, replay: Replay, token: int, rows: Mapping[str, int]) -> None:
    """Keep the definition of a version, and record its nights with their rows."""
    definition = FeatureDefinition.of(features.use_case, features.sources).model_dump(mode="json")
    ledger.keep_definition(features.use_case.name, features.version, token, definition)
    ledger.write_builds(replay, token, str(features.ref), features.version, rows)
    for run_key in replay.run_keys:
        ledger.write_counts(run_key, token, {"features": rows[run_key.night]})


def record_refused(ledger: "Ledger", replay: Replay, token: int, builds: Sequence[FeatureBuild]) -> None:
    """Write one check per version and night that cannot be computed, with the reason."""
    for build in builds:
        for night, reason in build.refused.items():
            key = RunKey(replay.scope, night, replay.variant)
            ledger.write_checks(key, token, str(build.features.ref), [Check(REFILL, "warn", detail=reason)])


def refused_nights(ref: DatasetRef, replay: Replay, ledger: "Ledger", lake: "LakeFiles") -> set[str]:
    """Return the nights of a replay that a feature version does not have because they cannot be computed."""
    checks = ledger.checks(replay.scope, replay.first, replay.last, replay.variant)
    refused = {row.as_of for row in checks if row.dataset == str(ref) and row.check.name == REFILL}
    return {format_night(night) for night in refused - built_nights(ref, replay, ledger, lake)}


def describe_builds(
    present: FeatureSet, builds: Sequence[FeatureBuild], outcomes: Sequence[Outcome]
) -> tuple[dict[str, int], dict[str, str]]:
    """Return the counts and facts of a run: rows per version, and what was refused or failed and why."""
    counts, facts = {"rows": 0}, {"feature_version": present.version}
    for build, outcome in zip(builds, outcomes, strict=True):
        version = build.features.version
        if isinstance(outcome, str):
            facts[f"failed:{version}"] = outcome
        else:
            counts["rows"] += outcome
            counts[f"rows:{version}"] = counts.get(f"rows:{version}", 0) + outcome
        if build.refused:
            counts[f"refused:{version}"] = len(build.refused)
            facts[f"refused:{version}"] = _summarise(build)
    return counts, facts


def _summarise(build: FeatureBuild) -> str:
    """Group the refused nights by reason.

    The ledger's checks hold every night with its own.
    """
    groups: dict[str, list[str]] = {}
    for night, reason in build.refused.items():
        groups.setdefault(reason, []).append(format_night(night))
    texts = [
        f"{nights[0]}{f' to {nights[-1]} ({len(nights)} nights)' if len(nights) > 1 else ''}: {reason}"
        for reason, nights in list(groups.items())[:_REASONS_SHOWN]
    ]
    rest = [f"and {len(groups) - _REASONS_SHOWN} more reasons"] if len(groups) > _REASONS_SHOWN else []
    return "; ".join((*texts, *rest))
