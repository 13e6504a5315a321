"""Decide, night by night and in order, whether to do nothing, investigate, wait or retrain, and close the nights.

Reads profiles, matured metrics, maturity, champions and past verdicts from the ledger, all as of the night. Writes a
verdict per night to ledger and warehouse; a `drift` verdict that answers `retrain` is a request. Backfills (many nights
at once, the option `backfill=true`, a rerun of such a night) ask for nothing: theirs are of kind `drift-replay`.
Fails as fenced when a newer attempt decides the same nights.
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from nightloop.drift.decision import decide
from nightloop.drift.past import DRIFT, choose_kind, recall_open_request
from nightloop.job.context import JobContext
from nightloop.job.frame import run_job
from nightloop.loop.night.drift_inputs import find_champion, read_inputs, read_verdicts
from nightloop.loop.night.feature_versions import present_features
from nightloop.run import MAIN_VARIANT, JobResult
from nightloop.stores.ledger.rows import VerdictRow


def decide_retraining(job: JobContext) -> JobResult:
    """Decide each night on what was known in it, the verdicts of the nights before among that."""
    with job.phase("decide"):
        decided = _decide_nights(job)
    with job.phase("write"):
        job.ledger.assert_not_fenced(job.replay, job.name, job.token)
        for key, row in zip(job.replay.run_keys, decided, strict=True):
            champion = job.ledger.champion(key.scope, key.as_of)
            job.ledger.write_verdict(key, job.token, row.verdict, row.kind)
            job.warehouse.replace_verdict(key, row.verdict, champion.version if champion else None, job.token)
        # last: a closed night has its verdict
        job.ledger.close_run(job.replay, job.token)
    last = decided[-1]
    facts = {
        "answer": last.answer,
        "reason": last.reason,
        "columns": ", ".join(last.columns),
        "until": last.facts.get("until", ""),
        "open_requests": json.dumps([night.isoformat() for night in _list_open(job, last.kind)]),
    }
    return job.result(counts=Counter(row.answer for row in decided), facts=facts)


def _decide_nights(job: JobContext) -> list[VerdictRow]:
    replay, params = job.replay, job.use_case.drift
    inputs = read_inputs(job.ledger, present_features(job.use_case, job.load_source), replay)
    recorded = read_verdicts(job.ledger, replay.scope, replay.variant)
    is_backfill = len(replay.nights) > 1 or job.options.get("backfill") == "true"
    before = [row for night, row in recorded.items() if night not in replay.nights]
    decided: list[VerdictRow] = []
    for night in replay.nights:
        earlier = recorded.get(night)
        kind = choose_kind(earlier.kind if earlier else None, is_backfill=is_backfill)
        tonight = replace(
            inputs[night],
            as_of=night,
            past=[*before, *decided],
            champion=find_champion(job.ledger, job.use_case, night),
            open_request=recall_open_request(earlier, _list_open(job, kind), night),
        )
        decided.append(VerdictRow(replay.scope, night, kind, job.token, decide(tonight, params), replay.variant))
    return decided


def _list_open(job: JobContext, kind: str) -> list[datetime]:
    """List the requests that concern a verdict of this kind; those of backfills and variants concern nobody."""
    if kind != DRIFT or job.replay.variant != MAIN_VARIANT:
        return []
    return [row.as_of for row in job.ledger.open_requests(job.replay.scope)]


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("decide_retraining", decide_retraining, argv)


if __name__ == "__main__":
    sys.exit(main())
