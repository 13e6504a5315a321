"""Replays a whole history at once and trains the first model. Started by hand, with the first and the last day.

1. For every source: `land_source` and `clean_source`, from as far back as the features look.
2. `build_features`, `score_batch`, `load_scores`: all nights in one replay, the same SQL as any single night. Before
   there is a champion there is nothing to score, and both scoring tasks are skipped.
3. `measure_outcomes` and `profile_partition`, cohort by cohort and night by night.
4. `decide_retraining` records the verdicts of the past; verdicts on the past ask for no retraining.
5. The training chain as in the retraining DAG, as of the last night; `check_leakage` comes first.

**When it fails**

- *exit code 65*: a folder or the data is wrong; the last lines of the log say what was expected and found.
- *anything else* was tried again by itself; see `nightloop doctor`, then clear the failed task.

Running it again, also over a longer range, is safe: every night replaces itself.
"""

from collections.abc import Mapping
from datetime import timedelta

from airflow.sdk import DAG, TaskGroup, TriggerRule, chain

from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop_airflow.forms import day_param, variant_param
from nightloop_airflow.parsing import describe_dag, title_of, use_cases_of
from nightloop_airflow.tasks import approval_time, default_args, source_job, training_chain, use_case_job

JOB_TIMEOUT = timedelta(hours=12)


def build_bootstrap_dag(use_case: UseCase, sources: Mapping[str, Source]) -> DAG:
    first = day_param("First day", "First day of the history to compute.", use_case.start.isoformat())
    last = day_param("Last day", "Last day of the history; the first model is trained as of its last night.")
    with DAG(
        f"bootstrap_{use_case.name}",
        dag_display_name=title_of("bootstrap", use_case.name),
        description=use_case.description.strip().splitlines()[0],
        doc_md=describe_dag(__doc__, use_case),
        schedule=None,
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(hours=48) + approval_time(use_case),
        default_args=default_args(use_case.owner, JOB_TIMEOUT),
        params={"first": first, "last": last, "variant": variant_param()},
        tags={"nightloop", "bootstrap"},
    ) as dag:
        features = use_case_job("build_features", use_case)
        for source in sources.values():
            with TaskGroup(source.name, tooltip=source.description.strip()):
                land = source_job("land_source", source, reach_days=source.lookback_days)
                clean = source_job("clean_source", source, reach_days=source.lookback_days)
            chain(land, clean, features)
        score = use_case_job("score_batch", use_case)
        load = use_case_job("load_scores", use_case)
        measure = use_case_job("measure_outcomes", use_case, trigger_rule=TriggerRule.NONE_FAILED)
        profile = use_case_job("profile_partition", use_case, trigger_rule=TriggerRule.NONE_FAILED)
        decide = use_case_job(
            "decide_retraining", use_case, trigger_rule=TriggerRule.NONE_FAILED, options={"backfill": "true"}
        )
        plan, _ = training_chain(use_case, is_refilled=False)
        chain(features, score, load, measure, decide, plan)
        chain(features, profile)
        chain(score, profile, decide)
    return dag


for folder, its_sources in use_cases_of("bootstrap"):
    build_bootstrap_dag(folder, its_sources)
