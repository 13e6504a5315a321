"""Plan a retraining as of one night: which requests it answers, when its judging window opens, what it fits.

Reads the ledger. Option `requests`: the events that woke it, a JSON list of nights. Fails on an event without a request
row in the ledger, and where a retention has dropped a part of the training window. Leaves facts `as_of`, `judged_from`,
`requests`, `candidates`.
"""

import json
import sys
from collections.abc import Sequence
from datetime import timedelta

from nightloop.job.context import JobContext
from nightloop.job.frame import run_job
from nightloop.loop.retention import USE_CASE_LAYERS, assert_nights_kept
from nightloop.loop.retraining.planning import assert_requested, make_plan
from nightloop.run import JobResult, parse_instant
from nightloop.training.plan import judging_opens


def plan_retraining(job: JobContext) -> JobResult:
    """Name the candidates; the champion's recipe is always among them."""
    scope, as_of = job.replay.scope, job.replay.last
    requested = [parse_instant(text) for text in json.loads(job.options.get("requests") or "[]")]
    assert_requested(job.ledger, scope, requested)
    opened = judging_opens(as_of, job.use_case.training)
    training = job.use_case.training
    first = as_of - timedelta(days=training.judged_days + training.window_days)
    assert_nights_kept(job.ledger, scope, USE_CASE_LAYERS, first)
    planned = make_plan(job.use_case, job.load_source, job.ledger.champion(scope, as_of))
    requests = [row.as_of for row in job.ledger.open_requests(scope) if row.as_of <= as_of]
    return job.result(
        counts={"candidates": len(planned), "open_requests": len(requests)},
        facts={
            "as_of": as_of.isoformat(),
            "judged_from": opened.isoformat(),
            "requests": json.dumps([one.isoformat() for one in requests]),
            "candidates": json.dumps([one.name for one in planned]),
        },
    )


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("plan_retraining", plan_retraining, argv)


if __name__ == "__main__":
    sys.exit(main())
