"""Fit one candidate as of the opening of the judging window.

Reads features and matured labels of the lake, by delta-rs. Option `candidate`: its name in the plan. Leaves its
verified ONNX artifact in the run's work folder, and logs parameters, losses and artifact to MLflow. Fails when nothing
has matured, when the artifact does not score like the model, and with a rank's own traceback when a rank fails.
"""

import sys
from collections.abc import Sequence

import numpy as np

from nightloop.evaluation.metrics import compute_metric
from nightloop.job import run_job
from nightloop.job_context import JobContext
from nightloop.labelled_rows import read_training_rows
from nightloop.run import JobResult
from nightloop.training.candidate import fit_candidate
from nightloop.training.dataset import LABEL, prepare_rows
from nightloop.training.plan import judging_opens
from nightloop.training_inputs import (
    WorkCandidate,
    find_candidate,
    make_plan,
    work_folder,
    write_candidate,
)


def train_candidate(job: JobContext) -> JobResult:
    """Choose on the youngest part of the window, fit on all of it."""
    use_case, name = job.use_case, job.options["candidate"]
    cut = judging_opens(job.replay.last, use_case.training)
    champion = job.ledger.champion(job.replay.scope, job.replay.last)
    planned = find_candidate(make_plan(use_case, job.load_source, champion), name)
    with job.phase("read"):
        table, pins = read_training_rows(use_case, job.lake_files, job.ledger, planned, cut, job.scratch)
        rows = prepare_rows(table, cut, use_case.training.choose_ratio, planned.recipe.half_life_days)
    folder = work_folder(job.settings.work, job.run_key, name)
    with job.phase("fit"):
        fitted = fit_candidate(rows, planned, folder / "fit", use_case.task, use_case.training)
    metric, labels = use_case.promotion.metric, rows.choose.column(LABEL).to_numpy().astype(np.float64)
    scores = fitted.choose_scores if fitted.choose_scores is not None else np.full(len(labels), np.nan)
    chosen = compute_metric(metric, labels, scores, use_case.scoring.decision_threshold)
    pins["choices"] = dict(fitted.choices)
    job.ledger.assert_not_fenced(job.replay, job.name, job.token)
    left = WorkCandidate(fitted.digest, chosen, dict(fitted.choices), fitted.baseline, dict(fitted.params), pins)
    write_candidate(folder, fitted.model, left)
    figures = {f"choose_{metric}": chosen, "fit_seconds": fitted.seconds} | dict(fitted.choices) | fitted.speed
    figures |= fitted.tuned.figures if fitted.tuned else {}
    figures = {key: value for key, value in figures.items() if np.isfinite(value)}
    settled = planned.settle(fitted.params).to_dict() | pins
    with job.phase("log"):
        logged = job.registry.log_candidate(
            job.run_key, name, fitted.model, params=settled, epochs=fitted.epochs, figures=figures
        )
        if fitted.tuned:
            job.registry.log_text(logged, "tuning.html", fitted.tuned.page)
    counts = {"fit_rows": rows.fit.num_rows, "choose_rows": rows.choose.num_rows}
    facts = {"candidate": name, "digest": fitted.digest}
    return job.result(counts=counts, figures=figures, facts=facts, links={"mlflow": logged.page})


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("train_candidate", train_candidate, argv)


if __name__ == "__main__":
    sys.exit(main())
