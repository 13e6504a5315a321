"""Fit one candidate as of the opening of the judging window; of several windows, where one has too little to tell.

Reads features and matured labels of the lake, by delta-rs. Option `candidate`: its name in the plan. Leaves its
verified ONNX artifacts in the run's work folder, and logs parameters, losses and artifact of the youngest window to
MLflow. Fails when nothing has matured, when an artifact does not score like its model, and with a rank's own traceback
when a rank fails.
"""

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from nightloop.evaluation.metrics import compute_metric
from nightloop.job.context import JobContext
from nightloop.job.frame import run_job
from nightloop.loop.retraining.labelled_rows import judging_windows, read_training_rows
from nightloop.loop.retraining.planning import find_candidate, make_plan
from nightloop.loop.retraining.work import WorkCandidate, twin_folder, work_folder, write_candidate
from nightloop.run import JobResult
from nightloop.training.candidate import Candidate, fit_candidate
from nightloop.training.dataset import LABEL, TrainingRows, prepare_rows
from nightloop.training.plan import PlannedCandidate


def train_candidate(job: JobContext) -> JobResult:
    """Fit a twin as of the opening of every window that judges; log the youngest."""
    use_case, name, as_of = job.use_case, job.options["candidate"], job.replay.last
    candidates = make_plan(use_case, job.load_source, job.ledger.champion(job.replay.scope, as_of))
    planned = find_candidate(candidates, name)
    windows = judging_windows(use_case, job.lake_files, job.ledger, candidates, as_of)
    folder = work_folder(job.settings.work, job.run_key, name)
    twins = [_fit_twin(job, planned, opened, twin_folder(folder, place)) for place, opened in enumerate(windows)]
    rows, fitted, left = twins[0]
    figures: dict[str, float] = {f"choose_{use_case.promotion.metric}": left.chosen, "fit_seconds": fitted.seconds}
    figures |= {**fitted.choices, **fitted.speed, **(fitted.tuned.figures if fitted.tuned else {})}
    # a job's result is JSON, which has neither NaN nor infinity
    figures = {key: value for key, value in figures.items() if np.isfinite(value)}
    settled = planned.settle(fitted.params).to_dict() | dict(left.pins)
    with job.phase("log"):
        logged = job.registry.log_candidate(
            job.run_key, name, fitted.model, params=settled, epochs=fitted.epochs, figures=figures
        )
        if fitted.tuned:
            job.registry.log_text(logged, "tuning.html", fitted.tuned.page)
    counts = {"fit_rows": rows.fit.num_rows, "choose_rows": rows.choose.num_rows, "judging_windows": len(windows)}
    facts = {"candidate": name, "digest": fitted.digest}
    return job.result(counts=counts, figures=figures, facts=facts, links={"mlflow": logged.page})


def _fit_twin(
    job: JobContext, planned: PlannedCandidate, opened: datetime, folder: Path
) -> tuple[TrainingRows, Candidate, WorkCandidate]:
    """Choose on the youngest part of the window before `opened`, fit on all of it, and leave the twin for the judge."""
    use_case = job.use_case
    with job.phase("read"):
        table, pins = read_training_rows(use_case, job.lake_files, job.ledger, planned, opened, job.scratch)
        rows = prepare_rows(table, opened, use_case.training.choose_ratio, planned.recipe.half_life_days)
    with job.phase("fit"):
        fitted = fit_candidate(rows, planned, folder / "fit", use_case.task, use_case.training)
    labels = rows.choose.column(LABEL).to_numpy().astype(np.float64)
    scores = fitted.choose_scores if fitted.choose_scores is not None else np.full(len(labels), np.nan)
    chosen = compute_metric(use_case.promotion.metric, labels, scores, use_case.scoring.decision_threshold)
    pins["choices"] = dict(fitted.choices)
    job.ledger.assert_not_fenced(job.replay, job.name, job.token)
    left = WorkCandidate(fitted.digest, chosen, dict(fitted.choices), fitted.baseline, dict(fitted.params), pins)
    write_candidate(folder, fitted.model, left)
    return rows, fitted, left


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("train_candidate", train_candidate, argv)


if __name__ == "__main__":
    sys.exit(main())
