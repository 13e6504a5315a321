"""Keeps the platform in order: upkeep of the lake, ways back of champions and quarantined rows, erasure of people."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, Param, get_parsing_context

from nightloop_airflow.forms import night_param, optional_day_param, text_param
from nightloop_airflow.job_operator import JobOperator
from nightloop_airflow.parsing import describe_job, sources_of, use_cases_of
from nightloop_airflow.tasks import JOB_TIMEOUT, default_args

OWNER = "platform"
LONG_JOB_TIMEOUT = timedelta(hours=6)
UPKEEP_DOC = """
Keeps the lake small, every week: drops feature versions that no model needs and nights that a folder's
`retention_days` lets go, compacts small files, and removes files that no version within a week needs, also what
trainings left at work. The nights that stay do not change. Its report lists files and bytes of every table.

**Owner:** platform

**When it fails** nothing is lost; it was tried again by itself, and the next week does the rest. Clear it after
`nightloop doctor` finds nothing wrong.
"""
ROLLBACK_DOC = """
Makes an earlier model version champion again, for all nights after the given one. The change, its author's reason and
both versions are a row of the audit table; `nightloop status` shows the champion.

**Owner:** platform

**When it fails** the champion is unchanged. Exit code 65 means that the version does not exist; the log names the
versions there are.
"""
READMIT_DOC = """
Takes rows up again that a source set aside, after what was wrong with its folder has been mended: a rule of its
`suite.yaml`, its `clean.sql`, a column's type. The rows are judged by the folder as it is now. Those that pass come
back in the next night that is open, as new versions known from that night on: `source_<name>` of that night brings
them into the clean table. Closed nights stay as they are, and what still breaks a rule stays in quarantine. A row comes
back once.

Bad *values* are mended by a corrected file, which needs no readmission. So are lines that could not be parsed.

**Owner:** platform

**When it fails** nothing has changed. Exit code 65 means that no row that fits passes the folder as it is; the log
names the rules that they break. It is skipped when no row of a closed night fits.
"""


ERASURE_DOC = """
Erases people from every store: landed files, every table of the lake with its history, warehouse, ledger, reports and
artifacts. Put their identifiers as CSV into `erasures/` of the state folder (mode 0600, a header of the source's
columns), so that they pass through no form, log or database; the form asks for the file's name only. The certificate
lists every table, version and file touched, and the models that learned from them.

**Owner:** platform

**When it fails** clear it: it goes on where it ended, and ends in one certificate. Exit code 65 with *none anywhere*
means that nobody knows the person and nothing was changed; 75 that a run under way wrote the person again.
"""


def in_common(doc: str, *, hours: int, job_timeout: timedelta = JOB_TIMEOUT) -> dict[str, Any]:
    """Return what the DAGs of this family have in common; a run takes so many hours at most."""
    return {
        "doc_md": doc,
        "catchup": False,
        "max_active_runs": 1,
        "dagrun_timeout": timedelta(hours=hours),
        "default_args": default_args(OWNER, job_timeout),
        "tags": {"nightloop", "operations"},
    }


def build_lake_upkeep_dag() -> DAG:
    with DAG(
        "operations_lake_upkeep",
        dag_display_name="Operations: lake upkeep",
        description="Compacts the lake's files every week",
        **in_common(UPKEEP_DOC, hours=12, job_timeout=LONG_JOB_TIMEOUT),
        schedule=CronTriggerTimetable("0 12 * * 0", timezone="UTC"),
        start_date=datetime(2025, 1, 1, tzinfo=UTC),
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
        **in_common(ROLLBACK_DOC, hours=1),
        schedule=None,
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
        # only the filled-in form says whose schedule the night must be of
        user_defined_macros={"schedules": schedules},
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


def build_erasure_dag(sources: Sequence[str]) -> DAG:
    """Return the DAG that erases people whom one of the sources knows."""
    with DAG(
        "operations_erase_subjects",
        dag_display_name="Operations: erase subjects",
        description="Erases people from every store and leaves a certificate",
        **in_common(ERASURE_DOC, hours=12, job_timeout=LONG_JOB_TIMEOUT),
        schedule=None,
        params={
            "request": Param(
                type="string",
                pattern="^[a-z0-9][a-z0-9_-]{0,62}$",
                title="Request",
                description="Name of the file in erasures/, without `.csv`. A number, never the name of a person.",
            ),
            "source": Param(
                sources[0], type="string", enum=list(sources), title="Source", description="Whose columns the file has."
            ),
            "why": Param("", type="string", maxLength=500, title="Reason", description="Kept in the audit table."),
            "settle_minutes": Param(
                120,
                type="integer",
                minimum=0,
                title="Minutes until a write counts as dead",
                description="Files that no version names and that are older were left by an attempt that died.",
            ),
        },
    ) as dag:
        JobOperator(
            task_id="erase_subjects",
            scope="platform",
            kind="platform",
            options={
                "request": "{{ params.request }}",
                "source": "{{ params.source }}",
                "why": "{{ params.why }}",
                "settle_minutes": "{{ params.settle_minutes }}",
                "actor": "{{ dag_run.triggering_user_name or '' }}",
            },
            doc_md=describe_job("erase_subjects"),
        )
    return dag


def build_readmit_dag(schedules: dict[str, str]) -> DAG:
    """Return the DAG that takes up quarantined rows of any of the sources (name → cron) again."""
    names = sorted(schedules)
    with DAG(
        "operations_readmit_rows",
        dag_display_name="Operations: readmit quarantined rows",
        description="Takes quarantined rows up again after a fix",
        **in_common(READMIT_DOC, hours=6),
        schedule=None,
        params={
            "source": Param(names[0], type="string", enum=names, title="Source"),
            "rule": text_param(
                "Rule", "As quarantine names it, such as `type:amount`. Empty: whatever rule they broke."
            ),
            "file": text_param("File", "As quarantine names it. Empty: of all files."),
            "set_aside_from": optional_day_param("Set aside from", "First day of the nights that set the rows aside."),
            "set_aside_to": optional_day_param("Set aside to", "Last day of those nights. Both empty: all nights."),
            "why": Param(type="string", minLength=1, maxLength=500, title="Reason", description="What was mended."),
            "as_of": night_param(),
        },
        user_defined_macros={"schedules": schedules},
    ) as dag:
        JobOperator(
            task_id="readmit_rows",
            scope="{{ params.source }}",
            kind="source",
            schedule="{{ schedules[params.source] }}",
            options={
                "rule": "{{ params.rule }}",
                "file": "{{ params.file }}",
                "set_aside_from": "{{ params.set_aside_from or '' }}",
                "set_aside_to": "{{ params.set_aside_to or '' }}",
                "why": "{{ params.why }}",
                "actor": "{{ dag_run.triggering_user_name or '' }}",
            },
            doc_md=describe_job("readmit_rows"),
        )
    return dag


if get_parsing_context().dag_id in {None, "operations_lake_upkeep"}:
    build_lake_upkeep_dag()
# the forms below offer the folders that there are; without any there is nothing to choose from
if get_parsing_context().dag_id in {None, "operations_rollback_champion"} and (
    known := {use_case.name: use_case.schedule for use_case, _ in use_cases_of(None)}
):
    build_rollback_dag(known)
if get_parsing_context().dag_id in {None, "operations_erase_subjects"} and (
    named := sorted(source.name for source in sources_of(None))
):
    build_erasure_dag(named)
if get_parsing_context().dag_id in {None, "operations_readmit_rows"} and (
    feeds := {source.name: source.schedule for source in sources_of(None)}
):
    build_readmit_dag(feeds)
