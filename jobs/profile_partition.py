"""Profile every row of the replay's features and scores into the ledger.

Reads the nights' partitions of `features`, in every version that was built (the champions', the folder's), and of
`scores` in the lake, and the pinned bins. Writes one ledger row a night, version and column, and pins the bins of a
version where there are none yet: the first night with enough rows sets them for good. Fails on a replay without
features; nights without scores (before there is a champion) have no profile of them.
"""

import sys
from collections.abc import Sequence

from pyspark.sql import DataFrame

from nightloop.dataset import DatasetRef
from nightloop.drift.population import SCORE_COLUMN
from nightloop.drift.profile import Bins, choose_bins, list_empty, profile_frame, select_first_full
from nightloop.job.context import JobContext
from nightloop.job.frame import run_job
from nightloop.loop.night.drift_inputs import as_rows
from nightloop.loop.night.feature_versions import BuiltFeatures, list_built, present_features
from nightloop.run import JobResult
from nightloop.stores.lake.files import LakeFiles
from nightloop.stores.ledger.rows import ProfileRow


def profile_partition(job: JobContext) -> JobResult:
    """Profile the features version by version, then the scores where there are any."""
    replay, scores = job.replay, DatasetRef("scores", job.replay.scope)
    present = present_features(job.use_case, job.load_source)
    built = list_built(present, replay, job.ledger, LakeFiles(job.lake.root), job.load_source)
    rows = [row for features in built for row in _profile_features(job, features)]
    received = {row.as_of: row.rows for row in rows}
    if job.lake.exists(scores):
        rows += _profile(job, scores, scores.layer, (SCORE_COLUMN,), ())
    with job.phase("write"):
        job.ledger.assert_not_fenced(replay, job.name, job.token)
        job.ledger.write_profiles(job.token, rows)
    return job.result(counts={"rows": sum(received.values()), "profiles": len(rows)})


def _profile_features(job: JobContext, built: BuiltFeatures) -> list[ProfileRow]:
    """Profile one version; a night that was built and is empty has profiles of no rows."""
    ref, columns = built.features.ref, built.features.use_case.features
    rows = _profile(job, ref, built.features.version, columns.numeric, columns.categorical)
    profiled = {row.as_of for row in rows}
    empty = [night for night in built.nights if night not in profiled]
    return rows + as_rows(list_empty(empty, (), columns.numeric, columns.categorical), job.replay, str(ref))


def _profile(
    job: JobContext, ref: DatasetRef, bins_key: str, numeric: Sequence[str], categorical: Sequence[str]
) -> list[ProfileRow]:
    replay, min_rows = job.replay, job.use_case.drift.min_rows
    with job.phase(f"profile {ref.layer}"):
        frame = job.lake.read(ref, replay.variant, replay.first, replay.last)
        bins = job.ledger.bins(replay.scope, bins_key) or _pin_bins(job, frame, bins_key, numeric)
        profiles = profile_frame(frame, numeric, categorical, bins, min_rows)
        return as_rows(profiles, replay, str(ref) if ref.layer == "features" else ref.layer)


def _pin_bins(job: JobContext, frame: DataFrame, bins_key: str, numeric: Sequence[str]) -> Bins:
    """Pin bins on the first night with enough rows."""
    first = select_first_full(frame, job.use_case.drift.min_rows)
    if first is None:
        # so few rows must not pin the bins of every night to come
        return dict.fromkeys(numeric, (0.0,))
    job.ledger.pin_bins(job.replay.scope, bins_key, choose_bins(first, numeric))
    return job.ledger.bins(job.replay.scope, bins_key) or {}


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("profile_partition", profile_partition, argv)


if __name__ == "__main__":
    sys.exit(main())
