"""Publish the outcomes that matured in the replay's nights, and measure the scores that were given for them.

Reads the clean sources as of each night, and `scores/<use case>` of the matured cohorts. Writes `labels/<use case>`
in one Delta commit, metrics and maturity to the ledger, outcomes and performance to the warehouse. A cohort that nobody
scored is labelled and not measured; where nothing matured or nothing was scored, fact `abstained` says so.
"""

import sys
from collections.abc import Sequence
from functools import partial

from nightloop.asof.labels import Cohort, build_labels
from nightloop.asof.spine import build_spine, check_spine
from nightloop.dataset import DatasetRef
from nightloop.job.context import JobContext
from nightloop.job.frame import run_job
from nightloop.loop.night.asof_inputs import list_nights, load_sources, open_sources
from nightloop.loop.night.outcomes import OUTCOME_COLUMNS, list_cohorts, maturity_rows, measure_night, read_night
from nightloop.loop.retention import USE_CASE_LAYERS, assert_nights_kept, assert_records_kept
from nightloop.run import JobResult
from nightloop.stores.warehouse.rows import performance_table


def measure_outcomes(job: JobContext) -> JobResult:
    """Label the cohorts that matured, then measure them night by night."""
    replay, use_case, token = job.replay, job.use_case, job.token
    ref = DatasetRef("labels", use_case.name)
    cohorts = list_cohorts(use_case, replay)
    if cohorts:
        with job.phase("labels"):
            published = _publish(job, cohorts, ref)
    lake = job.lake_files
    with job.phase("measure"):
        measured = [read_night(use_case, lake, replay, night, cohorts) for night in replay.nights] if cohorts else []
        metrics = [row for night in measured for row in measure_night(use_case, replay, night)]
        maturity = [row for night in measured for row in maturity_rows(replay, night)]
    job.ledger.assert_not_fenced(replay, job.name, token)
    with job.phase("write"):
        job.ledger.write_metrics(token, metrics)
        job.ledger.write_maturity(token, maturity)
        rows = lake.open(ref, replay).stream(OUTCOME_COLUMNS) if cohorts else ()
        job.warehouse.replace_outcomes(replay.run_keys, rows, token)
        job.warehouse.replace_performance(replay.run_keys, performance_table(metrics), token)
    scored = sum(night.scored.num_rows for night in measured)
    counts = {"cohorts": len(cohorts), "labels": published if cohorts else 0, "scored": scored}
    why = "no cohort matured" if not cohorts else "nobody scored the cohorts that matured"
    facts = {"abstained": why} if not metrics else {}
    return job.result([ref] if cohorts else [], counts, {row.metric: row.value for row in metrics}, facts)


def _publish(job: JobContext, cohorts: Sequence[Cohort], ref: DatasetRef) -> int:
    replay, use_case, token = job.replay, job.use_case, job.token
    sources = load_sources(use_case, job.load_source)
    decided = [cohort.as_of for cohort in cohorts]
    assert_nights_kept(job.ledger, use_case.name, USE_CASE_LAYERS, min(decided))
    assert_records_kept(job.ledger, sources, decided)
    opened = open_sources(use_case, sources, job.lake, replay.knowledge, replay.variant)
    nights = list_nights(use_case.schedule, decided)
    spine_ref = DatasetRef("labels", use_case.name, "spine")
    stage = partial(job.lake.stage, replay=replay, token=token)
    spine = stage(build_spine(opened, nights, use_case.entity, use_case.spine_sql, replay.variant), spine_ref)
    figures = check_spine(spine, nights, use_case.entity)
    first = figures.first_decision
    labels = build_labels(spine, cohorts, opened, use_case.label_sql, use_case.label, use_case.entity, first)
    staged = stage(labels, ref)
    job.ledger.assert_not_fenced(replay, job.name, token)
    commit = job.lake.publish(staged, ref, replay, token, expected=figures.total)
    job.lake.drop_stage(spine_ref, replay, token)
    job.lake.drop_stage(ref, replay, token)
    return commit.rows


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("measure_outcomes", measure_outcomes, argv)


if __name__ == "__main__":
    sys.exit(main())
