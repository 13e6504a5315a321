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
from nightloop.stack import Stack
from nightloop.stores.ledger import Ledger
from tests.e2e.compare import assert_equal, read_night
from tests.loop import Loop

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.timeout(2700)]

SCOPE = "taxi_duration"
DAG = f"nightly_{SCOPE}"
KILLED = ("build_features", "score_batch", "measure_outcomes")
_PATIENCE_SECONDS = 600  # the server is cold and the machine shared: a job took over two minutes to come to work
_POLL_SECONDS = 0.05
_ANY_TOKEN = 10**15


@pytest.fixture(scope="module")
def stack(demo_home: Path) -> Iterator[Stack]:
    """The demo's stack, started again."""
    prepare_environment()
    with Stack(Settings.from_environment({"NIGHTLOOP_HOME": str(demo_home)})) as stack:
        yield stack


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
    run_id = _run_again(api, night)
    for task_id in KILLED:
        tries = _kill_at_work(stack, api, run_id, task_id, night)
        _wait_until(
            lambda name=task_id, tried=tries: _task(api, run_id, name)["try_number"] > tried,
            f"another attempt of {task_id}",
            lambda: _describe(api, run_id),
        )
    api.wait(DAG, run_id, lambda _: None)
    assert {task_id: _task(api, run_id, task_id)["state"] for task_id in KILLED} == dict.fromkeys(KILLED, "success")
    assert_equal(undisturbed, read_night(loop, night), "a night whose task processes were killed")


def test_a_training_task_links_to_its_mlflow_run(api: AirflowApi, demo_home: Path) -> None:
    document = json.loads((demo_home / "demo.json").read_text())
    run_id = document["use_cases"][SCOPE]["retraining_run_id"]
    path = f"/dags/retrain_{SCOPE}/dagRuns/{run_id}/taskInstances/train_candidate/links"
    links = api.call("GET", path, params={"map_index": 0})["extra_links"]
    assert "/#/experiments/" in links["MLflow run"]


def _run_again(api: AirflowApi, night: datetime) -> str:
    """Clear the night's tasks from the features on, as an operator would, and return the run's id."""
    run_id = api.find_run(DAG, night)
    body = {"dry_run": False, "dag_run_id": run_id, "task_ids": [KILLED[0]], "include_downstream": True}
    api.call("POST", f"/dags/{DAG}/clearTaskInstances", json={**body, "only_failed": False, "reset_dag_runs": True})
    return run_id


def _kill_at_work(stack: Stack, api: AirflowApi, run_id: str, task_id: str, night: datetime) -> int:
    """Kill the task's process once its job has drawn a token; return the number of the attempt that died."""
    ledger, replay = Ledger.open(stack.settings.ledger_url), Replay(SCOPE, (night,))
    drawn = len(ledger.stale_tokens(replay, task_id, _ANY_TOKEN))
    _wait_until(
        lambda: len(ledger.stale_tokens(replay, task_id, _ANY_TOKEN)) > drawn,
        f"{task_id} at work",
        lambda: _describe(api, run_id),
    )
    ledger.close()
    task = _task(api, run_id, task_id)
    process = max(_find_processes(task["id"]), key=psutil.Process.create_time)  # its supervisor bears the id too
    host = min(_find_processes(str(stack.job_host)), key=psutil.Process.create_time)  # its forks look like it
    tree = host.children(recursive=True)
    assert len(tree) >= 2, "a guard and its job"
    os.kill(process.pid, signal.SIGKILL)
    _wait_until(lambda: not any(member.is_running() for member in tree), "the end of the job's tree", lambda: str(tree))
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
