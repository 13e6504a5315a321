"""Draw an Evidently report beside each drift verdict of the replay that is not `nothing`.

Reads the nights' verdicts from the ledger and a bounded sample of `features`; writes one HTML file per verdict to the
reports. A quiet night has no report, and the job says so. Fails when a night has no verdict yet.
"""

import os
import sys
from collections.abc import Sequence

from nightloop.fault import Fault, NightloopError
from nightloop.job.context import JobContext
from nightloop.job.frame import run_job
from nightloop.loop.night.drift_inputs import read_verdicts
from nightloop.loop.night.feature_versions import find_features, present_features, served_version
from nightloop.run import JobResult, format_night
from nightloop.stores.ledger.rows import VerdictRow


def render_report(job: JobContext) -> JobResult:
    """Draw what there is to draw; `report` names the last one."""
    verdicts = read_verdicts(job.ledger, job.replay.scope, job.replay.variant)
    undecided = [format_night(night) for night in job.replay.nights if night not in verdicts]
    if undecided:
        where, found = f"drift verdicts of {job.replay.scope}", f"none for {', '.join(undecided)}"
        raise NightloopError(Fault(where, "one per night", found, "run decide_retraining first"))
    loud = [verdicts[night] for night in job.replay.nights if verdicts[night].answer != "nothing"]
    if not loud:
        return job.result(counts={"reports": 0}, facts={"report": "none: the answer is `nothing`"})
    links = {format_night(row.as_of): _render(job, row) for row in loud}
    return job.result(counts={"reports": len(links)}, links={**links, "report": links[format_night(loud[-1].as_of)]})


def _render(job: JobContext, row: VerdictRow) -> str:
    from nightloop.drift.report import choose_reference, draw_report, sample_nights

    # else Evidently sends telemetry
    os.environ["DO_NOT_TRACK"] = "1"
    use_case, key = job.use_case, job.replay.run_keys[job.replay.nights.index(row.as_of)]
    present = present_features(use_case, job.load_source)
    features = find_features(served_version(job.ledger, present, row.as_of), present, job.load_source, job.ledger)
    seen = features.use_case.features
    nights = [*job.ledger.closed_nights(use_case.name, job.replay.variant), *job.replay.nights]
    reference = choose_reference(row, sorted({*nights}))
    with job.phase("sample"):
        frame, rows = job.lake.read(features.ref, job.replay.variant), use_case.drift.report_rows
        current, baseline = (sample_nights(frame, taken, seen.names, rows) for taken in ([row.as_of], reference))
    with job.phase("draw"):
        html = draw_report(current, baseline, seen.numeric, seen.categorical, row.verdict)
    return str(job.reports.write("drift", key, "drift.html", html))


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("render_report", render_report, argv)


if __name__ == "__main__":
    sys.exit(main())
