"""Type, audit and publish what a source has received, and close its nights.

Reads `raw/<source>`. Writes `clean/<source>` and `quarantine/<source>` (one Delta commit each), counts and checks.
Expectations apply to the typed raw rows, beside which stand the columns that only clean.sql makes: `quarantine` ones
row by row, `fail` and `warn` ones to all good rows of the run together. Fails when the counts do not add up, when more
rows are set aside than the budget allows (quarantine is published all the same) and when a `fail` expectation fails
(nothing of `clean` is published then).
"""

import sys
from collections.abc import Sequence

from nightloop.dataset import DatasetRef
from nightloop.fault import NightloopError
from nightloop.job import JobContext, run_job
from nightloop.run import JobResult, format_night
from nightloop.verdict import Check


def clean_source(job: JobContext) -> JobResult:
    from nightloop.cleaning import build_outcomes, count_rows, record_cleaning, select_clean, select_typed
    from nightloop.etl.clean import GOOD, QUARANTINED, over_budget
    from nightloop.quality.judge import judge, preload, verdict_error

    source, replay, token = job.source, job.replay, job.token
    raw, clean, aside = (DatasetRef(layer, source.name) for layer in ("raw", "clean", "quarantine"))
    nights = [format_night(night) for night in replay.nights]
    preload(source.suite)

    with job.phase("clean"):
        received = job.lake.read_or_none(raw, replay.variant, nights=replay.nights)
        outcomes = build_outcomes(job.spark, received, source)
        staged = job.lake.stage(outcomes, clean, replay, token)
        counts = count_rows(staged, received, nights)
    total = {name: sum(night[name] for night in counts.values()) for name in next(iter(counts.values()))}
    with job.phase("quarantine"):
        job.ledger.assert_not_fenced(replay, job.name, token)
        rows = staged.where(f"_outcome = '{QUARANTINED}'").select("aside.*")
        if total[QUARANTINED] or job.lake.holds(aside, replay):
            job.lake.publish(
                rows, aside, replay, token, expected=total[QUARANTINED], is_counted=True, may_add_columns=True
            )
    excess = over_budget(counts, source.budget.rows, source.budget.ratio)

    with job.phase("judge"):
        checks = [Check("budget", "fail" if excess else "pass", total[QUARANTINED], None, f"{source.budget}")]
        if not excess and total[GOOD]:
            verdict = judge(select_typed(staged), source.suite, str(clean))
            checks += verdict.checks
    for run_key in replay.run_keys:
        job.ledger.write_counts(run_key, token, counts[run_key.night])
    job.ledger.write_checks(job.run_key, token, str(clean), checks)
    if excess:
        raise NightloopError(excess)
    if any(check.is_failed for check in checks):
        raise verdict_error(verdict)

    with job.phase("publish"):
        good = select_clean(staged)
        if total[GOOD] or not job.lake.exists(clean) or job.lake.holds(clean, replay):
            may = {"may_add_columns": True, "may_widen": source.is_widened}
            job.lake.publish(good, clean, replay, token, expected=total[GOOD], is_counted=True, **may)
        job.lake.drop_stage(clean, replay, token)
        job.ledger.assert_not_fenced(replay, job.name, token)
        record_cleaning(job.ledger, source, replay, token, counts)
        job.ledger.close_run(replay, token)
    warnings = ", ".join(check.name for check in checks if check.outcome == "warn")
    return job.result([clean, aside], total, facts={"warnings": warnings} if warnings else {})


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("clean_source", clean_source, argv)


if __name__ == "__main__":
    sys.exit(main())
