"""Keeps the platform in order: upkeep of the lake's files, and the way back to an earlier champion."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronTriggerTimetable, Param, get_parsing_context

from nightloop_airflow.forms import night_param
from nightloop_airflow.job_operator import JobOperator
from nightloop_airflow.parsing import describe_job, use_cases_of
from nightloop_airflow.tasks import default_args

OWNER = "platform"
UPKEEP_DOC = """
Keeps the lake small, every week: drops feature versions that no model needs and nights that a folder's
`retention_days` lets go, compacts small files, and removes files that no version within a week needs. The nights that
stay do not change. Its report lists files and bytes of every table.

**Owner:** platform

**When it fails** nothing is lost; it was tried again by itself, and the next week does the rest. Clear it after
`nightloop doctor` finds nothing wrong.
"""
ROLLBACK_DOC = """
Makes an earlier model version champion again, for all nights after the given one. The change, its author's reason and
both versions are a row of the audit table; `nightloop status` shows the champion.

**Owner:** platform

**When it fails** the champion is unchanged. Exit code 65 means that the version does not exist or is champion already;
the log names the versions there are.
"""


def build_lake_upkeep_dag() -> DAG:
    with DAG(
        "operations_lake_upkeep",
        dag_display_name="Operations: lake upkeep",
        description="Compacts the lake's files every week",
        doc_md=UPKEEP_DOC,
        schedule=CronTriggerTimetable("0 12 * * 0", timezone="UTC"),
        start_date=datetime(2025, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(hours=12),
        default_args=default_args(OWNER, timedelta(hours=6)),
        tags={"nightloop", "operations"},
    ) as dag:
        JobOperator(task_id="compact_lake", scope="platform", kind="platform", doc_md=describe_job("compact_lake"))
    return dag


def build_rollback_dag(schedules: dict[str, str]) -> DAG:
    """Return the DAG that rolls any of the use cases (name → cron) back."""
    names = sorted(schedules)
    with DAG(
        "operations_rollback_champion",
        dag_display_name="Operations: roll back a champion",
        description="Makes an earlier model version champion again",
        doc_md=ROLLBACK_DOC,
        schedule=None,
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(hours=1),
        default_args=default_args(OWNER),
        params={
            "use_case": Param(names[0], type="string", enum=names, title="Use case"),
            "to_version": Param(
                None,
                type=["null", "integer"],
                minimum=1,
                title="Version",
                description="Model version that shall be champion. Empty: the champion before the present one.",
            ),
            "why": Param("", type="string", maxLength=500, title="Reason", description="Kept in the audit table."),
            "as_of": night_param(),
        },
        user_defined_macros={"schedules": schedules},
        tags={"nightloop", "operations"},
    ) as dag:
        JobOperator(
            task_id="rollback_champion",
            scope="{{ params.use_case }}",
            kind="use_case",
            schedule="{{ schedules[params.use_case] }}",
            options={
                "to_version": "{{ params.to_version or '' }}",
                "why": "{{ params.why }}",
                "actor": "{{ dag_run.triggering_user_name or '' }}",
            },
            doc_md=describe_job("rollback_champion"),
        )
    return dag


if get_parsing_context().dag_id in {None, "operations_lake_upkeep"}:
    build_lake_upkeep_dag()
if get_parsing_context().dag_id in {None, "operations_rollback_champion"} and (
    known := {use_case.name: use_case.schedule for use_case, _ in use_cases_of(None)}
):
    build_rollback_dag(known)
