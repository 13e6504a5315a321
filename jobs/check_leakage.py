"""Refuse a training whose rows give the label away.

Reads features and matured labels of the lake by delta-rs, as of the night, and the clean rows of sources that declare
when they were known. Writes every check, with its figure and its limit, to the ledger under `training/<use case>`.
Fails with all refusals at once: a column or a small group of columns that nearly determines the label, a source whose
declared knowledge its own rows contradict, rows that training and judging share.
"""

import sys
from collections.abc import Sequence

from nightloop.fault import NightloopError
from nightloop.job.context import JobContext
from nightloop.job.frame import run_job
from nightloop.leakage.gate import judge_availability, judge_columns, judge_overlap, list_faults
from nightloop.leakage.levels import read_sample
from nightloop.leakage.overlap import measure_entity_overlap, measure_time_overlap
from nightloop.loop.night.asof_inputs import load_sources
from nightloop.loop.retraining.judging import entity_keys
from nightloop.loop.retraining.labelled_rows import read_labels, read_training_rows
from nightloop.loop.retraining.leakage_inputs import list_readers, make_window, measure_declared, seconds_of
from nightloop.loop.retraining.planning import make_plan
from nightloop.run import JobResult
from nightloop.training.dataset import select_window, take_evenly
from nightloop.training.plan import judging_opens


def check_leakage(job: JobContext) -> JobResult:
    """Hold the rows of the current feature version against the label, their windows and their sources."""
    use_case, as_of, params = job.use_case, job.replay.last, job.use_case.leakage
    lake, opened = job.lake_files, judging_opens(as_of, use_case.training)
    planned, *_ = make_plan(use_case, job.load_source, champion=None)
    with job.phase("read"):
        rows, pins = read_training_rows(use_case, lake, job.ledger, planned, as_of, job.scratch)
        sample = take_evenly(rows, params.sample_rows)
    with job.phase("columns"):
        keys = entity_keys(sample, use_case.entity)
        labelled = read_sample(sample, use_case.task, planned.numeric, planned.categorical, keys)
        checks = judge_columns(labelled, seconds_of(sample.column("decision_time")), params)
    with job.phase("overlap"):
        known = select_window(read_labels(use_case, lake, None, opened), opened, use_case.training.window_days)
        fit, judged = (make_window(use_case, one) for one in (known, read_labels(use_case, lake, opened, as_of)))
        shared = measure_time_overlap(fit, judged, opened), measure_entity_overlap(fit, judged)
        checks += judge_overlap(*shared, params)
    with job.phase("sources"):
        sources = load_sources(use_case, job.load_source)
        readers = list_readers(use_case, sources)
        declared = measure_declared({name: sources[name] for name in readers}, lake, as_of)
        checks += judge_availability(declared, readers, params)
    job.ledger.assert_not_fenced(job.replay, job.name, job.token)
    job.ledger.write_checks(job.run_key, job.token, f"training/{use_case.name}", checks)
    faults = list_faults(checks, f"training rows of {use_case.name} as of {as_of.isoformat()}")
    if faults:
        raise NightloopError(faults)
    warned = [check.name for check in checks if check.outcome == "warn"]
    counts = {"rows": rows.num_rows, "sampled": sample.num_rows, "checks": len(checks), "warnings": len(warned)}
    return job.result(counts=counts, facts={"warned": "; ".join(warned), "content": pins["content"]})


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("check_leakage", check_leakage, argv)


if __name__ == "__main__":
    sys.exit(main())
