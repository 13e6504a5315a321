"""Refit the recipe that the gate promotes, frozen, on everything that is known tonight, and register the model.

Reads the gate's verdict, features and matured labels of the lake. Registers the model in MLflow and in the ledger if it
scores like its judged twin, with its model card and an explanation of its scores; its verdict is kept either way.
Skipped unless the gate said promote.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace

from nightloop.artifact import score_table
from nightloop.evaluation.agreement import judge_agreement
from nightloop.evaluation.explanation import Explanation, explain_model
from nightloop.evaluation.scorecard import mask_groups
from nightloop.job.context import JobContext
from nightloop.job.frame import run_job
from nightloop.loop.retraining.judging import judged_rows
from nightloop.loop.retraining.labelled_rows import read_judged, read_rows, read_training_rows
from nightloop.loop.retraining.model_card_inputs import describe_version
from nightloop.loop.retraining.outcome import GATE, PINNED_PARAMS, REFIT, describe_model, find_verdict
from nightloop.loop.retraining.planning import find_candidate, make_plan
from nightloop.loop.retraining.work import read_candidate, work_folder
from nightloop.model_card.card import Card
from nightloop.model_card.page import render_card
from nightloop.run import JobResult
from nightloop.stores.registry.model_files import read_model
from nightloop.stores.registry.registry import LoggedModel
from nightloop.training.candidate import fit_candidate
from nightloop.training.dataset import prepare_rows
from nightloop.training.plan import judging_opens

CARD, EXPLANATION = "model_card.html", "explanation.json"


def refit_recipe(job: JobContext) -> JobResult:
    """Fit as of tonight, compare with the twin on the judged rows, register."""
    use_case, as_of = job.use_case, job.replay.last
    gate = find_verdict(job.ledger, job.run_key, GATE)
    if gate.answer != "promote":
        job.skip(f"the gate answered {gate.answer}: {gate.reason}")
    lake, champion = job.lake_files, job.ledger.champion(job.replay.scope, as_of)
    planned = find_candidate(make_plan(use_case, job.load_source, champion), gate.facts["winner"])
    twin, path = read_candidate(work_folder(job.settings.work, job.run_key, planned.name))
    planned = planned.settle(twin.params)
    with job.phase("read"):
        table, pins = read_training_rows(use_case, lake, job.ledger, planned, as_of, job.scratch)
        rows = prepare_rows(table, as_of, use_case.training.choose_ratio, planned.recipe.half_life_days)
    with job.phase("fit"):
        work = work_folder(job.settings.work, job.run_key, "refit")
        fitted = fit_candidate(rows, planned, work, use_case.task, use_case.training, twin.choices)
    with job.phase("agree"):
        judged = read_judged(use_case, lake, job.ledger, [planned], judging_opens(as_of, use_case.training), as_of)
        recent, judged_twin = read_rows(use_case, lake, planned, judged), read_model(str(path), twin.digest)
        scores = score_table(fitted.model, recent), score_table(judged_twin, recent)
        verdict = judge_agreement(use_case.name, *scores, recent.column("label").to_numpy(), use_case.promotion)
    facts, links = {"answer": verdict.answer, "reason": verdict.reason}, {}
    figures = {check.name: check.figure for check in verdict.checks if check.figure is not None}
    job.ledger.assert_not_fenced(job.replay, job.name, job.token)
    if verdict.answer == "agree":
        with job.phase("register"):
            described = planned.to_dict() | pins
            logged = job.registry.log_candidate(job.run_key, "refit", fitted.model, params=described, figures=figures)
            links["mlflow"] = logged.page
            uri = job.registry.register(job.run_key, logged, json.dumps(planned.to_dict()))
            training = use_case.training.model_dump(include=set(PINNED_PARAMS))
            chosen = pins | training | {"choices": dict(twin.choices)}
            model = describe_model(use_case, planned, fitted.digest, uri, as_of, chosen, gate)
            model = replace(model, version=job.ledger.register_model(model))
            facts["model_version"] = str(model.version)
        with job.phase("card"):
            verdicts = {GATE: gate, REFIT: verdict}
            card = describe_version(use_case, model, planned, verdicts, judged_twin, recent, twin.baseline)
            groups = mask_groups(judged_rows(recent, use_case))
            explanation = explain_model(fitted.model, recent, planned.columns, groups)
            links["card"] = _write_card(job, logged, replace(card, explanation=explanation), explanation)
    # last: the model that a verdict names is registered
    job.ledger.write_verdict(job.run_key, job.token, replace(verdict, facts=facts), kind=REFIT)
    return job.result(counts={"fit_rows": rows.whole.num_rows}, figures=figures, facts=facts, links=links)


def _write_card(job: JobContext, logged: LoggedModel, card: Card, explanation: Explanation) -> str:
    """Keep card and explanation beside the model, and the card among the reports; return where it lies there."""
    page = render_card(card)
    job.registry.log_text(logged, EXPLANATION, json.dumps(asdict(explanation), indent=1))
    job.registry.log_text(logged, CARD, page)
    return str(job.reports.write("model_cards", job.run_key, CARD, page))


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("refit_recipe", refit_recipe, argv)


if __name__ == "__main__":
    sys.exit(main())
