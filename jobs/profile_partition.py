"""Profile every row of the replay's features and scores into the ledger.

Reads the nights' partitions of `features` and `scores` in the lake, and the pinned bins. Writes one ledger row per night
and column, and pins the bins where the use case has none yet: the first night with enough rows sets them for good.
Fails on a replay without features; nights without scores (before there is a champion) have none.
"""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nightloop.asof.version import find_feature_version
from nightloop.dataset import DatasetRef
from nightloop.drift.population import SCORE_COLUMN
from nightloop.drift.profile import Bins, ColumnProfile, choose_bins, list_empty, profile_frame
from nightloop.job import JobContext, run_job
from nightloop.run import JobResult, format_night
from nightloop.stores.ledger import ProfileRow

_FOREVER_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def profile_partition(job: JobContext) -> JobResult:
    """Profile the features, then the scores where there are any."""
    features = DatasetRef("features", job.use_case.name, find_feature_version(job.use_case, job.load_source))
    columns = job.use_case.features
    rows = _profile(job, features, features.version, columns.numeric, columns.categorical)
    scores = DatasetRef("scores", job.use_case.name)
    if job.lake.exists(scores):
        rows += _profile(job, scores, "scores", (SCORE_COLUMN,), ())
    with job.phase("write"):
        job.ledger.assert_not_fenced(job.replay, job.name, job.token)
        job.ledger.write_profiles(job.token, rows)
    profiled = {row.as_of: row.rows for row in rows if row.dataset == "features"}
    return job.result(counts={"rows": sum(profiled.values()), "profiles": len(rows)})


def _profile(
    job: JobContext, ref: DatasetRef, bins_key: str, numeric: Sequence[str], categorical: Sequence[str]
) -> list[ProfileRow]:
    with job.phase(f"profile {ref.layer}"):
        replay, min_rows = job.replay, job.use_case.drift.min_rows
        frame = job.lake.read(ref, replay.variant, replay.first, replay.last)
        bins = job.ledger.bins(replay.scope, bins_key) or _pin_bins(job, frame, ref, bins_key, numeric)
        profiles = profile_frame(frame, numeric, categorical, bins, min_rows)
        if ref.layer == "features":
            profiles += list_empty(replay.nights, profiles, numeric, categorical)
        return [_as_row(job, ref, profile) for profile in profiles]


def _pin_bins(job: JobContext, frame: DataFrame, ref: DatasetRef, bins_key: str, numeric: Sequence[str]) -> Bins:
    """Pin bins on the first night with enough rows; columns of an earlier feature version keep theirs."""
    sizes = {row["night"]: row["count"] for row in frame.groupBy("night").count().collect()}
    full = sorted(night for night, rows in sizes.items() if rows >= job.use_case.drift.min_rows)
    if not full:
        return dict.fromkeys(numeric, (0.0,))
    earlier = job.ledger.profiles(job.replay.scope, ref.layer, _FOREVER_AGO, job.replay.last, job.replay.variant)
    known = {row.column: row.edges for row in earlier if row.edges}
    chosen = choose_bins(frame.where(F.col("night") == full[0]), [name for name in numeric if name not in known])
    job.ledger.pin_bins(job.replay.scope, bins_key, {name: known.get(name) or chosen[name] for name in numeric})
    return job.ledger.bins(job.replay.scope, bins_key) or {}


def _as_row(job: JobContext, ref: DatasetRef, profile: ColumnProfile) -> ProfileRow:
    return ProfileRow(
        scope=job.replay.scope,
        as_of=profile.as_of,
        variant=job.replay.variant,
        dataset=ref.layer,
        column=profile.column,
        kind=profile.kind,
        rows=profile.rows,
        missing=profile.missing,
        edges=profile.edges,
        counts=profile.counts,
    )


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("profile_partition", profile_partition, argv)


if __name__ == "__main__":
    sys.exit(main())
