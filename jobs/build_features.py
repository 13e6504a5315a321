"""Build the features of a use case's nights, as of each night.

Computes the folder's feature version and, where the champion of a night was trained on another one, that version too,
from the definition kept in the ledger. Reads the clean tables of its sources, which must have closed their nights.
Writes one Delta commit of `features/<use case>/<feature version>` per version, counts, checks and their Data Docs page.
Fails on a wrong spine (a row twice, a decision after its night) and on a `fail` expectation of the suite, which is
judged on the staged rows of the run; nothing of that version is published then. A folder's version that no champion
reads yet fails alone, and facts say why. Option `refill=missing`: computes only nights that the folder's or the
champion's version lacks, lists those that cannot be refilled with the reason, and is skipped where nothing is missing.
Warns of joins by hashed columns whose nights were hashed under different keys (fact `parted`).
"""

import sys
from collections.abc import Sequence

from nightloop.dataset import DatasetRef
from nightloop.folders.contracts import assert_features_sql
from nightloop.job.context import JobContext
from nightloop.job.frame import run_job
from nightloop.loop.night.asof_inputs import assert_sources_closed, list_nights, open_sources
from nightloop.loop.night.feature_builds import build_each, describe_builds, record_build, record_refused
from nightloop.loop.night.feature_versions import FeatureSet, plan_nights, plan_refill, present_features
from nightloop.loop.night.rotation import describe_broken
from nightloop.loop.retention import assert_records_kept
from nightloop.run import JobResult, Replay


def build_features(job: JobContext) -> JobResult:
    """Plan the versions and their nights, then build one after the other."""
    present = present_features(job.use_case, job.load_source)
    plan = plan_refill if job.options.get("refill") == "missing" else plan_nights
    builds = plan(present, job.replay, job.ledger, job.lake_files, job.load_source)
    if not builds:
        job.skip("no night is missing")
    record_refused(job.ledger, job.replay, job.token, builds)
    outcomes = build_each(builds, lambda one: _build(job, one.features, one.replay_of(job.replay)))
    built = [one for one, outcome in zip(builds, outcomes, strict=True) if one.nights and not isinstance(outcome, str)]
    counts, facts = describe_builds(present, builds, outcomes)
    parted = describe_broken(present.use_case, present.sources, job.ledger, job.replay.last)
    return job.result([one.features.ref for one in built], counts, facts={**facts, **parted})


def _build(job: JobContext, features: FeatureSet, replay: Replay) -> int:
    """Build, judge and publish one feature version; return its rows."""
    from nightloop.asof.features import build_features as build
    from nightloop.asof.spine import build_spine, check_spine
    from nightloop.quality.judge import judge, preload, verdict_error

    use_case, ref, token = features.use_case, features.ref, job.token
    assert_features_sql(use_case, features.sources)
    assert_sources_closed(features.sources, replay, job.ledger)
    assert_records_kept(job.ledger, features.sources, replay.nights)
    preload(use_case.suite)
    spine_ref = DatasetRef("features", use_case.name, f"{features.version}/spine")
    with job.phase("spine"):
        opened = open_sources(use_case, features.sources, job.lake, replay.knowledge, replay.variant)
        nights = list_nights(use_case.schedule, replay.nights)
        spine = build_spine(opened, nights, use_case.entity, use_case.spine_sql, replay.variant)
        spine = job.lake.stage(spine, spine_ref, replay, token)
        figures = check_spine(spine, nights, use_case.entity)
    with job.phase("features"):
        numeric, categorical = use_case.features.numeric, use_case.features.categorical
        frame = build(spine, figures, opened, use_case.features_sql, numeric, categorical, use_case.entity)
        staged = job.lake.stage(frame, ref, replay, token)
    with job.phase("judge"):
        hidden, rows = {"row_id", *use_case.entity}, staged if figures.total else None
        verdict, page = judge(rows, use_case.suite, str(ref), replay.run_key, hidden=hidden)
        shown = job.publish_page(f"features-{features.version}.html", page)
        if rows is not None:
            job.ledger.write_checks(replay.run_key, token, str(ref), verdict.checks)
        if verdict.failed:
            raise verdict_error(verdict, shown)
    with job.phase("publish"):
        job.ledger.assert_not_fenced(replay, job.name, token)
        commit = job.lake.publish(staged, ref, replay, token, expected=figures.total)
        job.lake.drop_stage(ref, replay, token)
        job.lake.drop_stage(spine_ref, replay, token)
    # last: a night counts as built only once its rows stand
    record_build(job.ledger, features, replay, token, figures.rows)
    return commit.rows


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("build_features", build_features, argv)


if __name__ == "__main__":
    sys.exit(main())
