"""Decide, night by night and in order, whether to do nothing, investigate, wait or retrain, and close the nights.

Reads profiles, matured metrics, maturity, champions and past verdicts from the ledger, all as of the night. Writes one
verdict per night to ledger and warehouse; a `drift` verdict that answers `retrain` is a request. Backfills (many nights
at once, the option `backfill=true`, a rerun of such a night) ask for nothing: their verdicts are of kind `drift-replay`.
Fails as fenced when a newer attempt decides the same nights.
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from nightloop.asof.labels import complete_at
from nightloop.drift.decision import decide
from nightloop.drift.inputs import Champion, DecisionInputs, Yardstick
from nightloop.drift.past import DRIFT, DRIFT_REPLAY, choose_kind, recall_open_request
from nightloop.job import JobContext, run_job
from nightloop.run import MAIN_VARIANT, JobResult, RunKey
from nightloop.schedule import first_tick_at_or_after
from nightloop.stores.ledger import VerdictRow

_EVER = datetime(1970, 1, 1, tzinfo=UTC)


def decide_retraining(job: JobContext) -> JobResult:
    """Decide each night on what was known in it, the verdicts of the nights before among that."""
    ledger, replay, is_bulk = job.ledger, job.replay, len(job.replay.nights) > 1
    with job.phase("read"):
        inputs = _read_inputs(job)
        rows = [ledger.verdicts(replay.scope, kind=kind, variant=replay.variant) for kind in (DRIFT_REPLAY, DRIFT)]
        known = {row.as_of: row for kind_rows in rows for row in kind_rows}
        asked = [] if is_bulk else [row.as_of for row in ledger.open_requests(replay.scope)]
    decided = {night: row for night, row in known.items() if night not in replay.nights}
    with job.phase("decide"):
        for night in replay.nights:
            earlier = known.get(night)
            kind = choose_kind(earlier and earlier.kind, is_backfill=is_bulk or job.options.get("backfill") == "true")
            tonight = replace(inputs, as_of=night, past=list(decided.values()), champion=_find_champion(job, night))
            tonight = replace(tonight, open_request=recall_open_request(earlier, asked, night))
            verdict = decide(tonight, job.use_case.drift)
            decided[night] = VerdictRow(replay.scope, night, kind, job.token, verdict, replay.variant)
    with job.phase("write"):
        ledger.assert_not_fenced(replay, job.name, job.token)
        for key in replay.run_keys:
            row, champion = decided[key.as_of], ledger.champion(key.scope, key.as_of)
            ledger.write_verdict(key, job.token, row.verdict, row.kind)
            job.warehouse.replace_verdict(key, row.verdict, champion and champion.version, job.token)
        ledger.close_run(replay, job.token)
    last = decided[replay.last]
    wakes = ledger.open_requests(replay.scope) if last.kind == DRIFT and replay.variant == MAIN_VARIANT else []
    facts = {"answer": last.answer, "reason": last.reason, "columns": ", ".join(last.columns)}
    facts |= {"until": last.facts.get("until", ""), "open_requests": json.dumps([r.as_of.isoformat() for r in wakes])}
    return job.result(counts=Counter(decided[night].answer for night in replay.nights), facts=facts)


def _read_inputs(job: JobContext) -> DecisionInputs:
    scope, last, variant = job.replay.scope, job.replay.last, job.replay.variant
    cron, label = job.use_case.schedule, job.use_case.label
    return DecisionInputs.gather(
        scope,
        [row for name in ("features", "scores") for row in job.ledger.profiles(scope, name, _EVER, last, variant)],
        job.use_case.drift,
        matures_at=lambda cohort: first_tick_at_or_after(cron, complete_at(cohort, label)),
        metrics=job.ledger.metrics(scope, _EVER, last, variant),
        maturity=job.ledger.maturity(scope, last, variant),
    )


def _find_champion(job: JobContext, night: datetime) -> Champion | None:
    changes = [change for change in job.ledger.champion_history(job.replay.scope) if change.decided_as_of < night]
    if not changes:
        return None
    model, promotion = job.ledger.model(job.replay.scope, changes[-1].version), job.use_case.promotion
    yardstick = Yardstick(promotion.metric, model.metrics.get(promotion.metric), promotion.min_positives)
    return Champion(model.version, model.as_of, changes[-1].decided_as_of, yardstick)


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("decide_retraining", decide_retraining, argv)


if __name__ == "__main__":
    sys.exit(main())
