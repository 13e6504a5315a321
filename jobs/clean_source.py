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
from typing import TYPE_CHECKING

from nightloop.dataset import DatasetRef
from nightloop.fault import NightloopError
from nightloop.job.context import JobContext
from nightloop.job.frame import run_job
from nightloop.run import JobResult
from nightloop.verdict import Check

if TYPE_CHECKING:
    from nightloop.loop.night.cleaning import Staged


def clean_source(job: JobContext) -> JobResult:
    from nightloop.etl.clean import QUARANTINED, over_budget
    from nightloop.loop.night.cleaning import select_aside, stage_outcomes
    from nightloop.quality.judge import preload

    source, replay, token = job.source, job.replay, job.token
    clean, aside = DatasetRef("clean", source.name), DatasetRef("quarantine", source.name)
    preload(source.suite)
    with job.phase("clean"):
        staged = stage_outcomes(source, replay, token, job.lake, job.ledger)
    total = staged.total
    with job.phase("quarantine"):
        job.ledger.assert_not_fenced(replay, job.name, token)
        # a rerun that sets nothing aside empties what an attempt before it has left
        if total[QUARANTINED] or job.lake.holds(aside, replay):
            rows, expected = select_aside(staged.rows), total[QUARANTINED]
            job.lake.publish(rows, aside, replay, token, expected=expected, is_counted=True, may_add_columns=True)
    excess = over_budget(staged.counts, source.budget.rows, source.budget.ratio)
    with job.phase("judge"):
        checks, failed = _judge(job, staged, is_over_budget=bool(excess))
    # also of a night that fails now: its figures say why
    for run_key in replay.run_keys:
        job.ledger.write_counts(run_key, token, staged.counts[run_key.night])
    job.ledger.write_checks(job.run_key, token, str(clean), checks)
    if excess:
        raise NightloopError(excess)
    if failed is not None:
        raise failed
    with job.phase("publish"):
        _publish(job, staged, clean)
    warnings = ", ".join(check.name for check in checks if check.outcome == "warn")
    return job.result([clean, aside], total, facts={"warnings": warnings} if warnings else {})


def _judge(job: JobContext, staged: "Staged", *, is_over_budget: bool) -> tuple[list[Check], NightloopError | None]:
    """Hold the good rows against the suite and publish its page; return every check, and the error of a failed one."""
    from nightloop.etl.clean import GOOD, INCOMES, QUARANTINED
    from nightloop.loop.night.cleaning import count_rules, select_aside, select_typed
    from nightloop.quality.judge import SetAside, judge, verdict_error

    source, total, clean = job.source, staged.total, str(DatasetRef("clean", job.source.name))
    budget = Check("budget", "fail" if is_over_budget else "pass", total[QUARANTINED], None, f"{source.budget}")
    broken = count_rules(select_aside(staged.rows)) if total[QUARANTINED] else {}
    set_aside = SetAside(broken, sum(total[income] for income in INCOMES))
    partition = select_typed(staged.rows) if total[GOOD] and not is_over_budget else None
    hidden = {*source.pii, *source.keys}
    verdict, page = judge(partition, source.suite, clean, job.run_key, set_aside=set_aside, hidden=hidden)
    checks, shown = [budget, *verdict.checks], job.publish_page("clean.html", page)
    return checks, verdict_error(verdict, shown) if any(check.is_failed for check in checks) else None


def _publish(job: JobContext, staged: "Staged", clean: DatasetRef) -> None:
    """Commit the good rows, say how they were made, and close the nights."""
    from nightloop.etl.clean import GOOD
    from nightloop.loop.night.cleaning import record_cleaning, select_clean

    source, replay, token, good = job.source, job.replay, job.token, staged.total[GOOD]
    # an empty frame is published only to make the table, or to take back rows of an attempt before
    if good or not job.lake.exists(clean) or job.lake.holds(clean, replay):
        may = {"may_add_columns": True, "may_widen": source.is_widened}
        job.lake.publish(select_clean(staged.rows), clean, replay, token, expected=good, is_counted=True, **may)
    job.lake.drop_stage(clean, replay, token)
    job.ledger.assert_not_fenced(replay, job.name, token)
    record_cleaning(job.ledger, source, replay, token, staged.counts)
    # last: whoever waits for a closed night finds all of it
    job.ledger.close_run(replay, token, staged.readmissions)


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("clean_source", clean_source, argv)


if __name__ == "__main__":
    sys.exit(main())
