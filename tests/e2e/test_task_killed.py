"""SIGKILL of the Airflow task process: its job goes with it, Airflow tries again, and the night comes out equal."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from nightloop.demo.airflow_api import AirflowApi
from nightloop.demo.run import prepare_environment
from nightloop.run import Replay, parse_instant
from nightloop.settings import Settings
from nightloop.stack.stack import Stack, StackState
from nightloop.stores.ledger.ledger import Ledger
from tests.e2e.compare import assert_equal, read_night
from tests.loop import Loop

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.timeout(2700)]

SCOPE = "taxi_duration"
DAG = f"nightly_{SCOPE}"
KILLED = ("measure_outcomes", "score_batch", "build_features")  # the last one with all that follow it
_PATIENCE_SECONDS = 600  # the server is cold and the machine shared: a job took over two minutes to come to work
_POLL_SECONDS = 0.05
_ANY_TOKEN = 10**15


@pytest.fixture(scope="module")
def stack(demo_home: Path) -> Iterator[Stack]:
    """The demo's stack, started again, with the demo's environment meanwhile."""
    before = dict(os.environ)
    prepare_environment()
    with Stack(Settings.from_environment({"NIGHTLOOP_HOME": str(demo_home)})) as stack:
        yield stack
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def api(stack: Stack) -> Iterator[AirflowApi]:
    with closing(AirflowApi(stack.airflow_url, stack.user, stack.password)) as api:
        yield api


def test_a_night_whose_task_processes_were_killed_equals_the_undisturbed_one(
    stack: Stack, api: AirflowApi, demo_home: Path
) -> None:
    document = json.loads((demo_home / "demo.json").read_text())
    night = parse_instant(document["use_cases"][SCOPE]["recovery"])
    loop = Loop(demo_home, SCOPE, stack.remote)
    undisturbed = read_night(loop, night)
    run_id = api.find_run(DAG, night)
    for task_id in KILLED:
        killed = _kill_at_work(stack, api, run_id, task_id, night, with_downstream=task_id == KILLED[-1])
        api.wait(DAG, run_id, lambda _: None)
        task = _task(api, run_id, task_id)
        assert (task["state"], task["try_number"]) == ("success", killed + 1), task_id
    assert_equal(undisturbed, read_night(loop, night), "a night whose task processes were killed")


def test_a_training_task_links_to_its_mlflow_run(api: AirflowApi, demo_home: Path) -> None:
    document = json.loads((demo_home / "demo.json").read_text())
    run_id = document["use_cases"][SCOPE]["retraining_run_id"]
    path = f"/dags/retrain_{SCOPE}/dagRuns/{run_id}/taskInstances/train_candidate/links"
    links = api.call("GET", path, params={"map_index": 0})["extra_links"]
    assert "/#/experiments/" in links["MLflow run"]


def _run_again(api: AirflowApi, run_id: str, task_id: str, *, with_downstream: bool) -> None:
    """Clear a task, and those after it, as an operator would."""
    body = {"dry_run": False, "dag_run_id": run_id, "task_ids": [task_id], "include_downstream": with_downstream}
    api.call("POST", f"/dags/{DAG}/clearTaskInstances", json={**body, "only_failed": False, "reset_dag_runs": True})


def _count_attempts(stack: Stack, task_id: str, night: datetime) -> int:
    with closing(Ledger.open(stack.settings.ledger_url)) as ledger:
        return len(ledger.stale_tokens(Replay(SCOPE, (night,)), task_id, _ANY_TOKEN))


def _kill_at_work(
    stack: Stack, api: AirflowApi, run_id: str, task_id: str, night: datetime, *, with_downstream: bool
) -> int:
    """Run a task again, kill its process while its job waits for Spark, and see the job end.

    Spark is suspended meanwhile, so that the job is at work however slow this machine is. Returns the number of the
    attempt that died.
    """
    drawn = _count_attempts(stack, task_id, night)
    state = StackState.read(stack.settings.home)
    assert state is not None
    spark = state.processes["spark"].find()
    assert spark is not None
    spark.suspend()
    try:
        _run_again(api, run_id, task_id, with_downstream=with_downstream)
        _wait_until(
            lambda: _count_attempts(stack, task_id, night) > drawn,
            f"{task_id} at work",
            lambda: _describe(api, run_id),
        )
        task = _task(api, run_id, task_id)
        process = max(_find_processes(task["id"]), key=psutil.Process.create_time)  # its supervisor bears the id too
        host = min(_find_processes(str(stack.job_host)), key=psutil.Process.create_time)  # its forks look like it
        guards = host.children()  # they outlive their jobs, to tell Spark
        jobs = [job for guard in guards for job in guard.children(recursive=True)]
        assert jobs, "the job under its guard"
        os.kill(process.pid, signal.SIGKILL)
        _wait_until(lambda: not any(job.is_running() for job in jobs), "the end of the jobs at work", lambda: str(jobs))
    finally:
        spark.resume()
    return int(task["try_number"])


def _find_processes(text: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["cmdline"]) if text in " ".join(process.info["cmdline"] or ())]


def _task(api: AirflowApi, run_id: str, task_id: str) -> dict[str, Any]:
    return next(task for task in api.tasks(DAG, run_id) if task["task_id"] == task_id)


def _describe(api: AirflowApi, run_id: str) -> str:
    return ", ".join(f"{task['task_id']} {task['state']} ({task['try_number']})" for task in api.tasks(DAG, run_id))


def _wait_until(is_so: Callable[[], bool], what: str, describe: Callable[[], str]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"waited in vain for {what}: {describe()}"
        time.sleep(_POLL_SECONDS)
