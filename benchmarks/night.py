"""Time one warm embedded night at 1e5 rows, trigger to rows in the warehouse, by phase, with the share that waits.

`make bench NAME=night`. A phase is a task; its seconds are split into scheduling (Airflow queues and starts it),
start-up (the job's process and imports) and work (the job's own phases). The ratio compares a night with and without
the job host, in interleaved pairs.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.harness import Pairs, Spread, write_result
from nightloop.demo.airflow_api import AirflowApi
from nightloop.demo.nights import Scheduler
from nightloop.demo.world import World
from nightloop.folders.loading import load_source, load_use_case
from nightloop.folders.schedule import ticks
from nightloop.settings import Settings
from nightloop.stack.environment import TELEMETRY_OFF
from nightloop.stack.stack import Stack

ROWS = int(os.environ.get("NIGHTLOOP_BENCH_ROWS", "100000"))
PAIRS = 5
HISTORY = (datetime(2025, 3, 2, 2, tzinfo=UTC), datetime(2025, 3, 11, 2, tzinfo=UTC))
_HISTORY_ROWS = 2_000


def main() -> int:
    """Bootstrap a small history, then time pairs of nights."""
    with tempfile.TemporaryDirectory(prefix="nightloop-bench-") as folder:
        # nights end in the past, so that no schedule starts runs beside those that are timed
        os.environ.update(TELEMETRY_OFF, NIGHTLOOP_HOME=folder, NIGHTLOOP_NIGHTS_END="2025-12-31")
        settings = Settings.from_environment()
        with Stack(settings) as stack, closing(AirflowApi(stack.airflow_url, stack.user, stack.password)) as api:
            os.environ.update(stack.job_environment)
            scheduler, world = _open(settings, stack, api)
            world(_HISTORY_ROWS).send(ticks(scheduler.use_case.schedule, *HISTORY))
            scheduler.bootstrap(*HISTORY, lambda _: None)
            nights = ticks(scheduler.use_case.schedule, HISTORY[1], datetime(2025, 6, 1, tzinfo=UTC))[1:]
            big = nights[: 2 * PAIRS + 1]
            world(ROWS).send(big)
            _run(scheduler, big[0])  # warms the server; not counted
            warm, cold = [], []
            for index in range(PAIRS):
                first, second = big[1 + 2 * index : 3 + 2 * index]
                warm.append(_run(scheduler, first))
                with _without_host(stack):
                    cold.append(_run(scheduler, second))
                print(f"pair {index + 1}/{PAIRS}: warm {warm[-1]['night']:.0f} s, cold {cold[-1]['night']:.0f} s")
    write_result(
        "night",
        ratios={"warm_vs_cold_jobs": Pairs([run["night"] for run in warm], [run["night"] for run in cold])},
        figures={
            "rows": ROWS,
            "seconds_trigger_to_warehouse": vars(Spread.of([run["loaded"] for run in warm])),
            "seconds_night": vars(Spread.of([run["night"] for run in warm])),
            "waiting_share": vars(Spread.of([run["waiting_share"] for run in warm])),
            "phases_of_the_last_warm_night": warm[-1]["phases"],
        },
        notes="loaded: until load_scores of the night ended; night: until the decision and its request ended",
    )
    return 0


def _open(settings: Settings, stack: Stack, api: AirflowApi) -> tuple[Scheduler, Any]:
    use_case = load_use_case("taxi_duration", settings.folders)
    sources = tuple(load_source(name, settings.folders) for name in use_case.sources)
    scheduler = Scheduler(api, use_case, sources)
    api.wait_for_dags(scheduler.dag_ids)
    return scheduler, lambda rows: World(use_case, stack.remote, settings.landing, rows, "concept")


def _run(scheduler: Scheduler, night: datetime) -> dict[str, Any]:
    """Run one night and take it apart, from Airflow's own record of each task and each job's own phases."""
    scheduler.take_in(night)
    run = scheduler.run_night(night, lambda _: None)
    begin = datetime.fromisoformat(run["queued_at"])
    phases: dict[str, Mapping[str, float]] = {}
    for dag_id in (*(f"source_{source.name}" for source in scheduler.sources), f"nightly_{scheduler.use_case.name}"):
        run_id = scheduler.api.find_run(dag_id, night)
        for task in scheduler.api.tasks(dag_id, run_id):
            if task["state"] == "success" and task["operator"] == "JobOperator":
                phases[f"{dag_id}.{task['task_id']}"] = _split(scheduler.api, dag_id, run_id, task, begin)
    loaded = phases[f"nightly_{scheduler.use_case.name}.load_scores"]["ended"]
    night_seconds = (datetime.fromisoformat(run["end_date"]) - begin).total_seconds()
    work = sum(phase["work"] for phase in phases.values())
    waiting = sum(phase["scheduling"] + phase["start_up"] for phase in phases.values())
    return {"night": night_seconds, "loaded": loaded, "waiting_share": waiting / (waiting + work), "phases": phases}


def _split(api: AirflowApi, dag_id: str, run_id: str, task: Mapping[str, Any], begin: datetime) -> dict[str, float]:
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task['task_id']}/xcomEntries/return_value"
    result = api.call("GET", path, params={"deserialize": "true"})["value"]
    scheduled, started, ended = (
        datetime.fromisoformat(task[key] or task["start_date"]) for key in ("scheduled_when", "start_date", "end_date")
    )
    work = sum(result["seconds"].values())
    return {
        "scheduling": round((started - scheduled).total_seconds(), 2),
        "start_up": round(max(0.0, (ended - started).total_seconds() - work), 2),
        "work": round(work, 2),
        "ended": round((ended - begin).total_seconds(), 2),
    }


@contextmanager
def _without_host(stack: Stack) -> Iterator[None]:
    """Hide the job host's socket, so that every job imports for itself."""
    hidden = Path(f"{stack.job_host}.hidden")
    stack.job_host.rename(hidden)
    try:
        yield
    finally:
        hidden.rename(stack.job_host)


if __name__ == "__main__":
    sys.exit(main())
