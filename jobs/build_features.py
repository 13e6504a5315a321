"""Build the features of a use case's nights, as of each night.

Reads the clean tables of its sources, which must have closed their nights. Writes one Delta commit of
`features/<use case>/<feature version>`, counts, checks and their Data Docs page. Fails on a wrong spine (a row twice, a
decision after its night) and on a `fail` expectation of the suite, which is judged on the staged rows of the run;
nothing is published then. A night without decisions leaves an empty partition. Option `refill=missing`: computes only
the nights that this feature version lacks though their sources have closed them, and is skipped where there is none.
"""

import sys
from collections.abc import Sequence

from nightloop.asof_inputs import (
    assert_sources_closed,
    list_nights,
    load_sources,
    open_sources,
    select_missing,
    version_features,
)
from nightloop.dataset import DatasetRef
from nightloop.job import DATA_DOCS, JobContext, run_job
from nightloop.run import JobResult
from nightloop.stores.lake_files import LakeFiles


def build_features(job: JobContext) -> JobResult:
    from nightloop.asof.features import build_features as build
    from nightloop.asof.spine import build_spine, check_spine
    from nightloop.quality.judge import judge, preload, verdict_error

    use_case, replay = job.use_case, job.replay
    sources = load_sources(use_case, job.load_source)
    version = version_features(use_case, sources)
    if job.options.get("refill") == "missing":
        stored = LakeFiles(job.settings.lake).nights(DatasetRef("features", use_case.name, version), replay.variant)
        replay = select_missing(replay, sources, stored, job.ledger) or job.skip("no night is missing")
    assert_sources_closed(sources, replay, job.ledger)
    preload(use_case.suite)
    token = job.token
    ref, spine_ref = DatasetRef("features", use_case.name, version), DatasetRef("features", use_case.name, "spine")

    with job.phase("spine"):
        opened = open_sources(use_case, sources, job.lake, replay.knowledge)
        nights = list_nights(use_case.schedule, replay.nights)
        spine = build_spine(opened, nights, use_case.entity, use_case.spine_sql, replay.variant)
        spine = job.lake.stage(spine, spine_ref, replay, token)
        figures = check_spine(spine, nights, use_case.entity)
    with job.phase("features"):
        numeric, categorical = use_case.features.numeric, use_case.features.categorical
        features = build(spine, figures, opened, use_case.features_sql, numeric, categorical, use_case.entity)
        staged = job.lake.stage(features, ref, replay, token)
    with job.phase("judge"):
        hidden, rows = {"row_id", *use_case.entity}, staged if figures.total else None
        verdict, page = judge(rows, use_case.suite, str(ref), job.run_key, hidden=hidden)
        links = job.publish_page("features.html", page)
        if rows is not None:
            job.ledger.write_checks(job.run_key, token, str(ref), verdict.checks)
        if verdict.failed:
            raise verdict_error(verdict, links.get(DATA_DOCS, ""))
    with job.phase("publish"):
        job.ledger.assert_not_fenced(replay, job.name, token)
        commit = job.lake.publish(staged, ref, replay, token, expected=figures.total)
        job.lake.drop_stage(ref, replay, token)
        job.lake.drop_stage(spine_ref, replay, token)
    for run_key in replay.run_keys:
        job.ledger.write_counts(run_key, token, {"features": figures.rows[run_key.night]})
    return job.result([ref], {"rows": commit.rows}, facts={"feature_version": version}, links=links)


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("build_features", build_features, argv)


if __name__ == "__main__":
    sys.exit(main())
