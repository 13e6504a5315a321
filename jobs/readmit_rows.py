"""Take quarantined rows up again after a fix of the source's folder, as of the next night that is open.

Reads `quarantine/<source>`, the raw rows behind it, and the ledger. Judges them by the folder as it is now and writes
those that pass to the ledger's readmissions, with a line of audit; `clean_source` of that night brings them into
`clean`. Closed nights stay as they are. Options: `set_aside_from`, `set_aside_to` (days of the nights that set the rows
aside), `file`, `rule`, `why`, `actor`. Skips when no row fits. Fails when none of those that fit passes.
"""

import sys
from collections.abc import Sequence

from nightloop.fault import Fault, NightloopError
from nightloop.job.context import JobContext
from nightloop.job.frame import run_job
from nightloop.loop.night.readmission import (
    choose_rows,
    collect_rows,
    describe_rows,
    find_open_night,
    read_readmitted,
    read_selection,
)
from nightloop.run import MAIN_VARIANT, JobResult, format_night


def readmit_rows(job: JobContext) -> JobResult:
    from nightloop.etl.readmission import Earlier
    from nightloop.loop.night.cleaning import build_outcomes, count_rules, select_aside

    source, selection = job.source, read_selection(job.options)
    if job.replay.variant != MAIN_VARIANT:
        remedy = "run the variant again: it judges every row by the folder as it is"
        raise NightloopError(Fault("variant of a readmission", MAIN_VARIANT, job.replay.variant, remedy))
    night = find_open_night(source, job.replay.last, job.ledger)
    with job.phase("select"):
        before = job.ledger.readmissions(source.name)
        chosen = choose_rows(source, selection, night, before, job.lake, job.ledger)
    if not chosen:
        job.skip("no quarantined row of a closed night fits, that a mended folder could let pass")

    actor, why = job.options.get("actor") or "an operator", job.options.get("why") or "readmitted by hand"
    with job.phase("judge"):
        asked = describe_rows(source, night, chosen, job.ledger, actor, why)
        outcomes = build_outcomes(job.spark, None, source, Earlier(readmitted=read_readmitted(asked, job.lake)))
        failing = select_aside(outcomes)
        still_bad, rules = collect_rows(failing), count_rules(failing)
    passing = {checksum: rows - still_bad.get(checksum, set()) for checksum, rows in chosen.items()}
    readmissions = describe_rows(source, night, passing, job.ledger, actor, why)
    total, readmitted = (sum(each.count for each in rows) for rows in (asked, readmissions))
    broken = ", ".join(f"{rule} ({count})" for rule, count in rules.items())
    if not readmissions:
        raise NightloopError(
            Fault(f"quarantine of {source.name}", "rows that pass now", f"none of {total}: {broken}", "mend the folder")
        )
    with job.phase("record"):
        job.ledger.readmit(readmissions, job.token, len(before))
    counts = {"asked": total, "readmitted": readmitted, "still_bad": total - readmitted}
    return job.result(
        counts=counts, facts={"night": format_night(night)} | ({"still_broken": broken} if broken else {})
    )


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("readmit_rows", readmit_rows, argv)


if __name__ == "__main__":
    sys.exit(main())
