"""Close a retraining: make the refitted model champion of later nights, or keep the champion; answer the requests.

Reads the verdicts of the gate and of the refit, and where the use case asks for a person's approval the options
`approval` (Approve or Reject) and `approved_by`. A change of champion made since the gate judged, such as a rollback
while a person was asked, stands. Writes the change of champion and the audit to the ledger and moves
the MLflow alias; answers every open request up to tonight, whatever the verdict. Fails when the gate has not judged or
the approval is missing.
"""

import sys
from collections.abc import Sequence

from nightloop.job.context import JobContext
from nightloop.job.frame import run_job
from nightloop.loop.retraining.outcome import CHANGES, GATE, REFIT, find_verdict, outcome_of, read_approval
from nightloop.run import MAIN_VARIANT, JobResult


def promote_model(job: JobContext) -> JobResult:
    """Change the champion if both verdicts allow it."""
    scope, as_of, ledger = job.replay.scope, job.replay.last, job.ledger
    if job.replay.variant != MAIN_VARIANT:
        job.skip(f"a run of variant {job.replay.variant} promotes nothing")
    gate = find_verdict(ledger, job.run_key, GATE)
    refit = find_verdict(ledger, job.run_key, REFIT) if gate.answer == "promote" else None
    is_asked = refit is not None and refit.answer == "agree"
    approval = read_approval(job.use_case, job.options) if is_asked else None
    outcome = outcome_of(gate, refit, approval, ledger.champion_changes_since(scope, int(gate.facts[CHANGES])))
    before = ledger.champion(scope, as_of)
    ledger.assert_not_fenced(job.replay, job.name, job.token)
    if outcome.version is not None:
        with job.phase("promote"):
            # before the alias, which only shows people what the ledger says
            ledger.change_champion(scope, outcome.version, as_of, outcome.actor, outcome.reason)
            job.registry.set_champion_alias(scope, ledger.model(scope, outcome.version).digest)
    was = "none" if before is None else str(before.version)
    now = was if outcome.version is None else str(outcome.version)
    ledger.write_audit(scope, outcome.answer, outcome.actor, outcome.reason, was, now, as_of)
    # last: until then a retry finds them open
    requests = [row for row in ledger.open_requests(scope) if row.as_of <= as_of]
    for request in requests:
        ledger.answer_request(scope, request.as_of, f"retraining as of {as_of.isoformat()}", outcome.answer)
    facts = {"answer": outcome.answer, "reason": outcome.reason, "champion_before": was, "champion": now}
    return job.result(counts={"answered_requests": len(requests)}, facts=facts)


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("promote_model", promote_model, argv)


if __name__ == "__main__":
    sys.exit(main())
