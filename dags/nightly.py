"""Scores one night, measures what earlier nights were worth, and decides whether to retrain.

1. `wait_for_sources` waits, deferred, until every source has closed this night, at most until the deadline.
2. `build_features` builds the spine and its as-of features, in the folder's version and in that of the champion.
3. `score_batch` scores them with the champion of this night; `load_scores` publishes them to the warehouse.
4. `wait_for_earlier_nights` puts the nights of a backfill in order, and passes at once otherwise.
5. `measure_outcomes` measures the cohorts whose outcomes matured; `profile_partition` profiles features and scores.
6. `decide_retraining` answers *nothing*, *investigate*, *wait* or *retrain*; `render_report` draws the evidence.
7. `request_retraining` wakes the retraining DAG if a request is open. On quiet nights it alone is skipped.
8. `prove_asof` recomputes rows of an earlier night without its future and compares. Nothing waits for it: tonight's
   scores stand, but a difference fails the run.

**When it fails**

- *`wait_for_earlier_nights`*: the night before in this backfill failed. Clear it and every night that it held back.
- *`wait_for_sources`*: its message names the sources that did not close. Mend their DAGs, then clear this task.
- *`prove_asof`*: stored features are not what their past gives. Find out who changed them, or the clean rows below.
- *exit code 65*: the folder or the data is wrong; the last lines of the log say what was expected and found.
- *anything else* was tried again by itself; see `nightloop doctor`, then clear the task.

Clearing is always safe: a night replaces itself, and a closed night reads only what was known when it closed.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, TriggerRule, chain, task
from airflow.sdk.exceptions import AirflowSkipException

from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.run import parse_instant
from nightloop_airflow.alert import alert_of_deadline
from nightloop_airflow.forms import night_param, variant_param
from nightloop_airflow.parsing import describe_dag, nights_end, title_of, use_cases_of
from nightloop_airflow.run_key import describe_requests
from nightloop_airflow.sensor import EarlierNightsSensor, SourcesClosedSensor
from nightloop_airflow.tasks import default_args, request_asset, use_case_job

_ORDER_POLL_SECONDS = 5
IS_BACKFILL = "{{ 'true' if dag_run.run_type == 'backfill' else 'false' }}"


def build_nightly_dag(use_case: UseCase, sources: Mapping[str, Source]) -> DAG:
    deadline = timedelta(hours=use_case.deadline_hours)
    with DAG(
        f"nightly_{use_case.name}",
        dag_display_name=title_of("nightly", use_case.name),
        description=use_case.description.strip().splitlines()[0],
        doc_md=describe_dag(__doc__, use_case),
        schedule=CronTriggerTimetable(use_case.schedule, timezone="UTC"),
        start_date=datetime.combine(use_case.start, time(), UTC),
        end_date=nights_end(),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=deadline + timedelta(hours=6),
        default_args=default_args(use_case.owner),
        params={"as_of": night_param(), "variant": variant_param()},
        tags={"nightloop", "nightly"},
    ) as dag:
        wait = SourcesClosedSensor(
            task_id="wait_for_sources",
            schedule=use_case.schedule,
            sources=sources,
            timeout=deadline,
            on_failure_callback=alert_of_deadline,
            doc_md=SourcesClosedSensor.__doc__,
        )
        ordered = EarlierNightsSensor(
            task_id="wait_for_earlier_nights",
            schedule=use_case.schedule,
            poke_interval=_ORDER_POLL_SECONDS,
            timeout=deadline,
            doc_md=EarlierNightsSensor.__doc__,
        )
        features = use_case_job("build_features", use_case)
        score = use_case_job("score_batch", use_case)
        load = use_case_job("load_scores", use_case)
        measure = use_case_job("measure_outcomes", use_case, trigger_rule=TriggerRule.NONE_FAILED)
        profile = use_case_job("profile_partition", use_case, trigger_rule=TriggerRule.NONE_FAILED)
        decide = use_case_job(
            "decide_retraining", use_case, trigger_rule=TriggerRule.NONE_FAILED, options={"backfill": IS_BACKFILL}
        )
        report = use_case_job("render_report", use_case, trigger_rule=TriggerRule.NONE_FAILED)
        prove = use_case_job("prove_asof", use_case, trigger_rule=TriggerRule.NONE_FAILED)
        chain(wait, features, score, load, measure, decide)
        # nights of a backfill are scored side by side; what measures and decides goes in their order
        chain(wait, ordered, [measure, profile, prove])
        # the scores first: somebody waits for them, and nobody for the proof
        chain(load, prove)
        chain(features, profile)
        chain(score, profile, decide, report, request_retraining_task(use_case, decide.output))
    return dag


def request_retraining_task(use_case: UseCase, decision: Any) -> Any:
    """Return the task that wakes the retraining DAG for the requests that are open after the decision."""
    asset = request_asset(use_case.name)

    @task(outlets=[asset])
    def request_retraining(decision: Mapping[str, Any] | None, *, outlet_events: Any = None) -> list[str]:
        """Emit the asset event that names every open request; skip when there is none."""
        requests = json.loads(((decision or {}).get("facts") or {}).get("open_requests", "[]"))
        if not requests:
            raise AirflowSkipException("no request for a retraining is open")
        outlet_events[asset].extra = describe_requests(parse_instant(request) for request in requests)
        return [str(request) for request in requests]

    return request_retraining(decision)


for folder, its_sources in use_cases_of("nightly"):
    build_nightly_dag(folder, its_sources)
