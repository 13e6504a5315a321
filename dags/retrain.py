"""Trains candidates as of one night, judges them against the champion, and promotes the winner if there is one.

Started by an open request of the nightly DAG (the asset), by the refresh schedule if there is one, or by hand.

1. `plan_retraining` reads the open requests, opens the judging window and names the candidates.
2. `build_features` fills what the training window misses of the folder's and the champion's feature version, usually
   nothing, and names the nights that cannot be filled; `profile_partition` then profiles the window.
3. `check_leakage` refuses rows that give the label away, before anything is fitted.
4. `train_candidate`, one per candidate, fits as of the opening of the judging window.
5. `judge_candidates` answers *promote*, *keep* or *not enough evidence* on the matured rows of that window.
6. `refit_recipe` refits the winner on everything known tonight; skipped unless it is promoted.
7. With `approval: human`, `approve_model` waits for a person's answer, up to seven days; silence rejects.
8. `promote_model` changes the champion for later nights, and answers every open request, whatever the verdict.

**When it fails**

- *exit code 65*: for example an event without a request row, no matured rows at all, or a column that gives the label
  away; the log says what to do.
- *anything else* was tried again by itself; see `nightloop doctor`, then clear the failed task.

The champion changes in the last task only: a run that fails before leaves everything as it was, and the next night asks
again for a request that stays open.
"""

from datetime import UTC, datetime, time, timedelta

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable
from airflow.sdk.definitions.dag import ScheduleArg

from nightloop.folders.use_case import UseCase
from nightloop_airflow.forms import night_param, variant_param
from nightloop_airflow.parsing import describe_dag, title_of, use_cases_of
from nightloop_airflow.tasks import approval_time, default_args, request_asset, training_chain


def build_retrain_dag(use_case: UseCase) -> DAG:
    with DAG(
        f"retrain_{use_case.name}",
        dag_display_name=title_of("retrain", use_case.name),
        description=use_case.description.strip().splitlines()[0],
        doc_md=describe_dag(__doc__, use_case),
        schedule=retraining_schedule(use_case),
        start_date=datetime.combine(use_case.start, time(), UTC),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(hours=12) + approval_time(use_case),
        default_args=default_args(use_case.owner),
        params={"as_of": night_param(), "variant": variant_param()},
        tags={"nightloop", "retrain"},
    ) as dag:
        training_chain(use_case, is_refilled=True)
    return dag


def retraining_schedule(use_case: UseCase) -> ScheduleArg:
    asset = request_asset(use_case.name)
    refresh = use_case.training.refresh_schedule
    if refresh is None:
        return [asset]
    return AssetOrTimeSchedule(timetable=CronTriggerTimetable(refresh, timezone="UTC"), assets=[asset])


for folder, _ in use_cases_of("retrain"):
    build_retrain_dag(folder)
