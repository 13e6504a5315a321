"""Judge the candidates on what matured after they were fitted.

Reads the candidates' artifacts in the work folder, features and labels of the lake, and the champion's artifact.
Writes the gate's verdict to the ledger; facts `answer` (promote, keep, not_enough_evidence), `winner`, `kind`,
`reason`. Fails when a candidate is missing, or nothing matured in the judging window.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from nightloop.artifact import score_table
from nightloop.evaluation.checks import Contender
from nightloop.evaluation.error_budget import count_recent
from nightloop.evaluation.gate import Opponent, judge_gate
from nightloop.job.context import JobContext
from nightloop.job.frame import run_job
from nightloop.loop.retraining.judging import judged_rows, score_disturbed
from nightloop.loop.retraining.labelled_rows import judging_windows, read_judged, read_rows
from nightloop.loop.retraining.outcome import CHANGES, GATE
from nightloop.loop.retraining.planning import make_plan
from nightloop.loop.retraining.work import read_candidate, twin_folder, work_folder
from nightloop.run import JobResult
from nightloop.stores.registry.model_files import read_model
from nightloop.training.plan import PlannedCandidate


def judge_candidates(job: JobContext) -> JobResult:
    """Score the judged rows of every window with its twins, as they are and disturbed, then ask the gate."""
    use_case, as_of, lake = job.use_case, job.replay.last, job.lake_files
    champion = job.ledger.champion(job.replay.scope, as_of)
    changes = len(job.ledger.champion_history(job.replay.scope))
    with job.phase("score"):
        candidates = make_plan(use_case, job.load_source, champion)
        opened = judging_windows(use_case, lake, job.ledger, candidates, as_of)
        ends = (as_of, *opened)
        labels = [
            read_judged(use_case, lake, job.ledger, candidates, start, end)
            for start, end in zip(opened, ends, strict=False)
        ]
        contenders, serving = [], None
        for planned in candidates:
            parts = [read_rows(use_case, lake, planned, part) for part in labels]
            contenders.append(_make_contender(job, planned, parts))
            rows = pa.concat_tables(parts)
            # one that was fitted later has seen rows on which it would be judged here
            if planned.is_champion and champion is not None and champion.as_of <= opened[-1]:
                serving = score_table(read_model(champion.uri, champion.digest), rows)
    with job.phase("judge"):
        earlier = count_recent((row.as_of for row in job.ledger.verdicts(use_case.name, kind=GATE)), as_of)
        threshold = use_case.scoring.decision_threshold
        opponent = Opponent(read_candidate(_folder(job, candidates[-1]))[0].baseline, serving)
        # the last candidate's rows: it sees the folder's features, so no protected attribute is missing from them
        judged = judged_rows(rows, use_case)
        verdict = judge_gate(use_case.name, contenders, judged, opponent, use_case.promotion, threshold, earlier)
    verdict = replace(verdict, facts={**verdict.facts, CHANGES: str(changes)})
    job.ledger.assert_not_fenced(job.replay, job.name, job.token)
    job.ledger.write_verdict(job.run_key, job.token, verdict, kind=GATE)
    figures = {check.name: check.figure for check in verdict.checks if check.figure is not None}
    facts = {"answer": verdict.answer, "reason": verdict.reason, "judged_from": opened[-1].isoformat(), **verdict.facts}
    counts = {"judged_rows": rows.num_rows, "judging_windows": len(opened)}
    return job.result(counts=counts, figures=figures, facts=facts)


def _make_contender(job: JobContext, planned: PlannedCandidate, parts: Sequence[pa.Table]) -> Contender:
    """Score the rows of each window with the twin that was fitted before it."""
    twins = [read_candidate(twin_folder(_folder(job, planned), place)) for place in range(len(parts))]
    models = [read_model(str(path), left.digest) for left, path in twins]
    started = time.perf_counter()
    scores = np.concatenate([score_table(model, rows) for model, rows in zip(models, parts, strict=True)])
    milliseconds = (time.perf_counter() - started) * 1e6 / len(scores)
    disturbed = [score_disturbed(model, rows, planned) for model, rows in zip(models, parts, strict=True)]
    pooled = {name: np.concatenate([part[name] for part in disturbed]) for name in disturbed[0]}
    size_mb = len(models[0]) / 1e6
    return Contender(planned.name, twins[0][0].chosen, scores, planned.is_champion, pooled, size_mb, milliseconds)


def _folder(job: JobContext, planned: PlannedCandidate) -> Path:
    return work_folder(job.settings.work, job.run_key, planned.name)


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("judge_candidates", judge_candidates, argv)


if __name__ == "__main__":
    sys.exit(main())
