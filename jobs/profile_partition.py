"""Profile every row of the replay's features and scores into the ledger.

Reads the nights' partitions of `features` and `scores` in the lake, and the pinned bins. Writes one ledger row a night
and column, and pins the bins where there are none yet: the first night with enough rows sets them for good. Fails on a
replay without features; nights without scores (before there is a champion) have no profile of them.
"""

import sys
from collections.abc import Sequence

from pyspark.sql import DataFrame

from nightloop.asof_inputs import load_sources, version_features
from nightloop.dataset import DatasetRef
from nightloop.drift.population import SCORE_COLUMN
from nightloop.drift.profile import Bins, choose_bins, list_empty, profile_frame, select_first_full
from nightloop.drift_inputs import as_rows, find_edges
from nightloop.job import JobContext, run_job
from nightloop.run import JobResult
from nightloop.stores.ledger import ProfileRow


def profile_partition(job: JobContext) -> JobResult:
    """Profile the features, then the scores where there are any."""
    use_case, replay = job.use_case, job.replay
    version = version_features(use_case, load_sources(use_case, job.load_source))
    features, scores = DatasetRef("features", use_case.name, version), DatasetRef("scores", use_case.name)
    rows = _profile(job, features, version, use_case.features.numeric, use_case.features.categorical)
    received = {row.as_of: row.rows for row in rows}
    if job.lake.exists(scores):
        rows += _profile(job, scores, scores.layer, (SCORE_COLUMN,), ())
    with job.phase("write"):
        job.ledger.assert_not_fenced(replay, job.name, job.token)
        job.ledger.write_profiles(job.token, rows)
    return job.result(counts={"rows": sum(received.values()), "profiles": len(rows)})


def _profile(
    job: JobContext, ref: DatasetRef, bins_key: str, numeric: Sequence[str], categorical: Sequence[str]
) -> list[ProfileRow]:
    replay, min_rows = job.replay, job.use_case.drift.min_rows
    with job.phase(f"profile {ref.layer}"):
        frame = job.lake.read(ref, replay.variant, replay.first, replay.last)
        bins = job.ledger.bins(replay.scope, bins_key) or _pin_bins(job, frame, ref.layer, bins_key, numeric)
        profiles = profile_frame(frame, numeric, categorical, bins, min_rows)
        if ref.layer == "features":
            profiles += list_empty(replay.nights, profiles, numeric, categorical)
        return as_rows(profiles, replay, ref.layer)


def _pin_bins(job: JobContext, frame: DataFrame, dataset: str, bins_key: str, numeric: Sequence[str]) -> Bins:
    """Pin bins on the first night with enough rows; columns of an earlier feature version keep theirs."""
    first = select_first_full(frame, job.use_case.drift.min_rows)
    if first is None:
        return dict.fromkeys(numeric, (0.0,))
    known = find_edges(job.ledger, job.replay, dataset)
    chosen = choose_bins(first, [column for column in numeric if column not in known])
    job.ledger.pin_bins(job.replay.scope, bins_key, {column: {**chosen, **known}[column] for column in numeric})
    return job.ledger.bins(job.replay.scope, bins_key) or {}


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("profile_partition", profile_partition, argv)


if __name__ == "__main__":
    sys.exit(main())
