"""Tasks that several DAG families share: a folder's jobs, its assets, and the chain from candidates to a champion."""

import json
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Asset, TriggerRule, task

from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop_airflow.job_operator import JobOperator
from nightloop_airflow.parsing import describe_job

RETRIES = 2
RETRY_DELAY = timedelta(seconds=15)
JOB_TIMEOUT = timedelta(hours=2)
TRAINING_MARGIN = timedelta(minutes=15)
APPROVAL_TASK = "approve_model"
APPROVAL_TIMEOUT = timedelta(days=7)
_ANSWER = f"(ti.xcom_pull(task_ids='{APPROVAL_TASK}') or {{}})"
APPROVAL_OPTIONS = {
    "approval": f"{{{{ {_ANSWER}.get('chosen_options', [''])[0] }}}}",
    "approved_by": f"{{{{ ({_ANSWER}.get('responded_by_user') or {{}}).get('name') or '' }}}}",
}
_APPROVAL_BODY = """\
{{ ti.xcom_pull(task_ids='judge_candidates')['facts']['reason'] }};
{{ ti.xcom_pull(task_ids='refit_recipe')['facts']['reason'] }}.

Model card: `{{ ti.xcom_pull(task_ids='refit_recipe')['links'].get('card', 'none: it was not registered') }}`
"""


def default_args(owner: str, timeout: timedelta = JOB_TIMEOUT) -> dict[str, Any]:
    """Return what all tasks of a DAG have in common: a lost session or a killed process is worth two more attempts."""
    return {"owner": owner, "retries": RETRIES, "retry_delay": RETRY_DELAY, "execution_timeout": timeout}


def source_asset(source: str) -> Asset:
    """Return the asset that says: a night of the source is clean."""
    return Asset(name=f"source/{source}", uri=f"nightloop://source/{source}", group="nightloop")


def request_asset(use_case: str) -> Asset:
    """Return the asset that wakes the retraining of a use case; the request itself is a row of the ledger."""
    return Asset(
        name=f"retraining_request/{use_case}", uri=f"nightloop://retraining_request/{use_case}", group="nightloop"
    )


def source_job(job: str, source: Source, **kwargs: Any) -> JobOperator:
    """Return the task that runs a job for a source."""
    extract = source.extract
    return JobOperator(
        task_id=job,
        scope=source.name,
        kind="source",
        schedule=source.schedule,
        start=source.start,
        connection=extract.connection if extract is not None and extract.kind == "database" else None,
        doc_md=describe_job(job),
        **kwargs,
    )


def use_case_job(job: str, use_case: UseCase, **kwargs: Any) -> JobOperator:
    """Return the task that runs a job for a use case."""
    return JobOperator(task_id=job, doc_md=describe_job(job), **_use_case_arguments(use_case), **kwargs)


def training_chain(use_case: UseCase, *, is_refilled: bool) -> tuple[JobOperator, JobOperator]:
    """Build plan → leakage → candidates, in parallel → gate → refit → promotion; return the first and the last task.

    A use case with `approval: human` asks a person between refit and promotion.

    `is_refilled` says whether features missing in the training window are computed first, and profiled, so that drift
    has a past to compare with when their version wins. The refit is skipped unless
    the gate promotes; the promotion runs either way, because it also records the answer to every open request.
    """
    budget = timedelta(minutes=use_case.training.budget_minutes) + TRAINING_MARGIN
    plan = use_case_job("plan_retraining", use_case, is_last_night_only=True, passes_requests=True)
    check = use_case_job(
        "check_leakage",
        use_case,
        is_last_night_only=True,
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,  # a refill that finds nothing missing is skipped
    )
    train = JobOperator.partial(
        task_id="train_candidate",
        is_last_night_only=True,
        execution_timeout=budget,
        map_index_template="{{ task.options['candidate'] }}",
        doc_md=describe_job("train_candidate"),
        **_use_case_arguments(use_case),
    ).expand(options=list_candidates(plan.output))  # type: ignore[arg-type]
    judge = use_case_job("judge_candidates", use_case, is_last_night_only=True)
    refit = use_case_job("refit_recipe", use_case, is_last_night_only=True, execution_timeout=budget)
    promote = use_case_job(
        "promote_model",
        use_case,
        is_last_night_only=True,
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
        options=APPROVAL_OPTIONS if use_case.promotion.approval == "human" else {},
    )
    if is_refilled:
        refill = use_case_job(
            "build_features", use_case, reach_days=use_case.training_reach_days, options={"refill": "missing"}
        )
        plan >> refill >> check
        refill >> use_case_job("profile_partition", use_case, reach_days=use_case.training_reach_days)
    plan >> check >> train >> judge >> refit
    if use_case.promotion.approval == "human":
        model_approved = EmptyOperator(task_id="model_approved", doc_md="Skipped when the model is rejected.")
        refit >> ask_for_approval(use_case) >> model_approved >> promote
    refit >> promote
    # where the refit is skipped, the gate is the success that the promotion's rule asks for
    judge >> promote
    return plan, promote


def ask_for_approval(use_case: UseCase) -> ApprovalOperator:
    """Return the task that parks the run until a person approves or rejects the refitted model; silence rejects it.

    Its answer reaches `promote_model`, which runs either way, by `APPROVAL_OPTIONS`.
    """
    return ApprovalOperator(
        task_id=APPROVAL_TASK,
        subject=f"Shall the new model of {use_case.name} score from the next night on?",
        body=_APPROVAL_BODY,
        defaults=ApprovalOperator.REJECT,
        response_timeout=APPROVAL_TIMEOUT,
        # a person may take days; the tasks' default would end the wait within hours
        execution_timeout=None,
        doc_md=f"Waits up to {APPROVAL_TIMEOUT.days} days for a person; the model card has the figures.",
    )


def approval_time(use_case: UseCase) -> timedelta:
    """Return how long a training chain may wait for a person."""
    return APPROVAL_TIMEOUT if use_case.promotion.approval == "human" else timedelta()


@task
def list_candidates(plan: dict[str, Any]) -> list[dict[str, str]]:
    """Return the options of one training per candidate of the plan."""
    facts = plan["facts"]
    return [{"candidate": name, "judged_from": facts["judged_from"]} for name in json.loads(facts["candidates"])]


def _use_case_arguments(use_case: UseCase) -> dict[str, Any]:
    return {
        "scope": use_case.name,
        "kind": "use_case",
        "schedule": use_case.schedule,
        "start": use_case.start,
    }
