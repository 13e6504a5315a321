"""Judge the candidates on what matured after they were fitted.

Reads the candidates' artifacts in the work folder, features and labels of the lake, and the champion's artifact.
Writes the gate's verdict to the ledger; facts `answer` (promote, keep, not_enough_evidence), `winner`, `kind`,
`reason`. Fails when a candidate is missing, or nothing matured in the judging window.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from nightloop.artifact import score_table
from nightloop.evaluation.checks import Contender
from nightloop.evaluation.error_budget import count_recent
from nightloop.evaluation.gate import Opponent, judge_gate
from nightloop.job import run_job
from nightloop.job_context import JobContext
from nightloop.labelled_rows import read_judged, read_rows
from nightloop.run import JobResult
from nightloop.stores.model_files import read_model
from nightloop.training.plan import PlannedCandidate, judging_opens
from nightloop.training_inputs import (
    CHANGES,
    GATE,
    judged_rows,
    make_plan,
    read_candidate,
    score_disturbed,
    work_folder,
)


def judge_candidates(job: JobContext) -> JobResult:
    """Score the judged rows with every twin, as they are and disturbed, then ask the gate."""
    use_case, as_of, params = job.use_case, job.replay.last, job.use_case.promotion
    opened, lake = judging_opens(as_of, use_case.training), job.lake_files
    champion = job.ledger.champion(job.replay.scope, as_of)
    changes = len(job.ledger.champion_history(job.replay.scope))
    contenders: list[Contender] = []
    baseline: tuple[float, ...] = ()
    serving = None
    with job.phase("score"):
        candidates = make_plan(use_case, job.load_source, champion)
        labels = read_judged(use_case, lake, job.ledger, candidates, opened, as_of)
        for planned in candidates:
            left, path = read_candidate(work_folder(job.settings.work, job.run_key, planned.name))
            rows = read_rows(use_case, lake, planned, labels)
            contenders.append(_make_contender(planned, left.chosen, read_model(str(path), left.digest), rows))
            baseline = left.baseline
            if planned.is_champion and champion is not None and champion.as_of <= opened:
                serving = score_table(read_model(champion.uri, champion.digest), rows)
    with job.phase("judge"):
        judged = judged_rows(rows, use_case)
        earlier = count_recent((row.as_of for row in job.ledger.verdicts(use_case.name, kind=GATE)), as_of)
        threshold = use_case.scoring.decision_threshold
        opponent = Opponent(baseline, serving)
        verdict = judge_gate(use_case.name, contenders, judged, opponent, params, threshold, earlier)
    verdict = replace(verdict, facts={**verdict.facts, CHANGES: str(changes)})
    job.ledger.assert_not_fenced(job.replay, job.name, job.token)
    job.ledger.write_verdict(job.run_key, job.token, verdict, kind=GATE)
    figures = {check.name: check.figure for check in verdict.checks if check.figure is not None}
    facts = {"answer": verdict.answer, "reason": verdict.reason, "judged_from": opened.isoformat(), **verdict.facts}
    return job.result(counts={"judged_rows": rows.num_rows}, figures=figures, facts=facts)


def _make_contender(planned: PlannedCandidate, chosen: float, model: bytes, rows: pa.Table) -> Contender:
    started = time.perf_counter()
    scores = score_table(model, rows)
    milliseconds = (time.perf_counter() - started) * 1e6 / rows.num_rows
    disturbed = score_disturbed(model, rows, planned)
    size_mb = len(model) / 1e6
    return Contender(planned.name, chosen, scores, planned.is_champion, disturbed, size_mb, milliseconds)


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("judge_candidates", judge_candidates, argv)


if __name__ == "__main__":
    sys.exit(main())
