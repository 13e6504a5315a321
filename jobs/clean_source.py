"""Type, audit and publish what a source has received, and close its nights.

Reads `raw/<source>`, the rows that were readmitted as of these nights, and what closed nights set aside before. Writes
`clean/<source>` and `quarantine/<source>` (one Delta commit each), counts, checks and their Data Docs page.
Expectations apply to the typed raw rows, beside which stand the columns that only clean.sql makes: `quarantine` ones
row by row, `fail` and `warn` ones to all good rows of the run together. Fails when the counts do not add up, when more
rows are set aside than the budget allows (quarantine is published all the same) and when a `fail` expectation fails
(nothing of `clean` is published then).
"""

import sys
from collections.abc import Sequence

from nightloop.dataset import DatasetRef
from nightloop.fault import NightloopError
from nightloop.job.context import JobContext
from nightloop.job.frame import run_job
from nightloop.loop.night.readmission import read_earlier
from nightloop.run import JobResult, format_night
from nightloop.verdict import Check


def clean_source(job: JobContext) -> JobResult:
    from nightloop.etl.clean import GOOD, INCOMES, QUARANTINED, over_budget
    from nightloop.loop.night.cleaning import (
        build_outcomes,
        count_rows,
        count_rules,
        record_cleaning,
        select_aside,
        select_clean,
        select_typed,
    )
    from nightloop.quality.judge import SetAside, judge, preload, verdict_error

    source, replay, token = job.source, job.replay, job.token
    raw, clean, aside = (DatasetRef(layer, source.name) for layer in ("raw", "clean", "quarantine"))
    nights = [format_night(night) for night in replay.nights]
    preload(source.suite)

    with job.phase("clean"):
        received = job.lake.read_or_none(raw, replay.variant, nights=replay.nights)
        readmissions = job.ledger.readmissions(source.name, replay, replay.variant)
        earlier = read_earlier(source, replay, readmissions, job.lake, job.ledger)
        outcomes = build_outcomes(job.spark, received, source, earlier)
        staged = job.lake.stage(outcomes, clean, replay, token)
        counts = count_rows(staged, received, nights, earlier)
    total = {name: sum(night[name] for night in counts.values()) for name in next(iter(counts.values()))}
    with job.phase("quarantine"):
        job.ledger.assert_not_fenced(replay, job.name, token)
        if total[QUARANTINED] or job.lake.holds(aside, replay):
            rows, expected = select_aside(staged), total[QUARANTINED]
            job.lake.publish(rows, aside, replay, token, expected=expected, is_counted=True, may_add_columns=True)
    excess = over_budget(counts, source.budget.rows, source.budget.ratio)

    with job.phase("judge"):
        checks = [Check("budget", "fail" if excess else "pass", total[QUARANTINED], None, f"{source.budget}")]
        broken = count_rules(select_aside(staged)) if total[QUARANTINED] else {}
        set_aside = SetAside(broken, sum(total[income] for income in INCOMES))
        partition = select_typed(staged) if total[GOOD] and not excess else None
        hidden = {*source.pii, *source.keys}
        verdict, page = judge(partition, source.suite, str(clean), job.run_key, set_aside=set_aside, hidden=hidden)
        checks += verdict.checks
        shown = job.publish_page("clean.html", page)
    for run_key in replay.run_keys:
        job.ledger.write_counts(run_key, token, counts[run_key.night])
    job.ledger.write_checks(job.run_key, token, str(clean), checks)
    if excess:
        raise NightloopError(excess)
    if any(check.is_failed for check in checks):
        raise verdict_error(verdict, shown)

    with job.phase("publish"):
        good = select_clean(staged)
        if total[GOOD] or not job.lake.exists(clean) or job.lake.holds(clean, replay):
            may = {"may_add_columns": True, "may_widen": source.is_widened}
            job.lake.publish(good, clean, replay, token, expected=total[GOOD], is_counted=True, **may)
        job.lake.drop_stage(clean, replay, token)
        job.ledger.assert_not_fenced(replay, job.name, token)
        record_cleaning(job.ledger, source, replay, token, counts)
        job.ledger.close_run(replay, token, len(readmissions))
    warnings = ", ".join(check.name for check in checks if check.outcome == "warn")
    return job.result([clean, aside], total, facts={"warnings": warnings} if warnings else {})


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("clean_source", clean_source, argv)


if __name__ == "__main__":
    sys.exit(main())
