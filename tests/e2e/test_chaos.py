"""A month backfilled three nights at a time, while processes die at random, equals the month run night by night."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from nightloop.demo.airflow_api import AirflowApi
from nightloop.engine.server import SMALL_NIGHTS
from nightloop.fault import NightloopError
from nightloop.settings import Settings
from nightloop.stack.environment import TELEMETRY_OFF
from nightloop.stack.stack import Stack, find_stack
from tests.e2e.compare import assert_equal, read_night
from tests.faults.restaurant import FOLDERS, USE_CASE, Restaurant
from tests.killable import KillableServer
from tests.loop import Loop, copy_home

pytestmark = [
    pytest.mark.slow,
    pytest.mark.stack,
    pytest.mark.timeout(9000),
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("error:::(nightloop|jobs)"),
]

SEED = 20250105
HISTORY = tuple(datetime(2025, 1, 5, 2, tzinfo=UTC) + timedelta(days=number) for number in range(8))
MONTH = tuple(HISTORY[-1] + timedelta(days=number) for number in range(1, 31))
SOURCE_DAGS = ("source_visits", "source_bills")
NIGHTLY_DAG = f"nightly_{USE_CASE}"
AT_A_TIME = 3
LEAST_KILLS = 40
PAUSE_SECONDS = (2.0, 24.0)
SERVICES_KILLED = {10: "spark", 20: "scheduler", 30: "spark"}  # after so many other kills
_PATIENCE_SECONDS = 5400
_LOCKED_SECONDS = 120


@dataclass
class Killer:
    """Kills jobs, their guards and Airflow's task processes until the month is over, one at a time, by a seed."""

    stack: Stack
    draw: random.Random = field(default_factory=lambda: random.Random(SEED))
    killed: list[str] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.is_over.wait(self.draw.uniform(*PAUSE_SECONDS)):
            with suppress(psutil.NoSuchProcess):  # it ended by itself, or is being started again
                if service := SERVICES_KILLED.get(len(self.killed)):
                    self._kill(self._service(service), service)
                elif victims := self._victims():
                    self._kill(self.draw.choice(victims), "process at work")

    def _victims(self) -> list[psutil.Process]:
        """List what works for a task: the job host's forks, and the task processes below the executor's workers.

        The workers themselves are spared: Airflow's local executor does not survive the loss of one.
        """
        jobs = self._service("job-host").children(recursive=True)
        tasks = [one for worker in self._service("scheduler").children() for one in worker.children()]
        return sorted([*jobs, *tasks], key=lambda process: process.pid)

    def _service(self, name: str) -> psutil.Process:
        state = find_stack(self.stack.home)
        assert state is not None
        return psutil.Process(state.processes[name].pid)

    def _kill(self, process: psutil.Process, what: str) -> None:
        process.kill()
        self.killed.append(what)


@pytest.fixture(scope="module")
def calm(server: KillableServer, tmp_path_factory: pytest.TempPathFactory) -> Restaurant:
    """A week in one replay, a first model, and a copy of that state before the month is run."""
    loop = Loop(tmp_path_factory.mktemp("calm") / "home", USE_CASE, server.remote, (FOLDERS,)).migrate()
    restaurant = Restaurant(loop)
    restaurant.land_nights((*HISTORY, *MONTH))
    loop.night(HISTORY[-1], HISTORY[0], reports=False)
    assert loop.retrain(HISTORY[-1]).facts["answer"] == "promote"
    return restaurant


@pytest.fixture(scope="module")
def stack(calm: Restaurant, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own on a copy of that state."""
    home = tmp_path_factory.mktemp("chaos") / "home"
    copy_home(calm.loop.home, home)
    (home / "lake" / ".writer.json").unlink()  # the calm loop's server is at work still
    environment = {"NIGHTLOOP_HOME": str(home), "NIGHTLOOP_FOLDERS": str(FOLDERS)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**SMALL_NIGHTS, **TELEMETRY_OFF, "NIGHTLOOP_NIGHTS_END": "2025-12-31"}.items():
            patch.setenv(name, value)
        with Stack(Settings.from_environment(environment)) as stack:
            yield stack


def test_a_month_of_chaos_equals_a_calm_one(calm: Restaurant, stack: Stack) -> None:
    killer = Killer(stack)
    with closing(AirflowApi(stack.airflow_url, stack.user, stack.password)) as api:
        dag_ids = [*SOURCE_DAGS, NIGHTLY_DAG]
        api.wait_for_dags(dag_ids)
        for dag_id in dag_ids:
            backfill(api, dag_id)
        killing = threading.Thread(target=killer.run)
        killing.start()
        try:
            wait_for_month(api, dag_ids)
        finally:
            killer.is_over.set()
            killing.join()
    assert len(killer.killed) >= LEAST_KILLS, f"too calm to count: {killer.killed}"
    assert set(SERVICES_KILLED.values()) <= set(killer.killed)
    chaotic = Loop(stack.home, USE_CASE, calm.loop.remote, (FOLDERS,))
    for night in MONTH:
        run_calmly(calm.loop, night)
    for night in MONTH:
        assert_equal(read_night(calm.loop, night), read_night(chaotic, night), f"the night {night:%F} of the chaos")


def backfill(api: AirflowApi, dag_id: str) -> None:
    body = {
        "dag_id": dag_id,
        "from_date": MONTH[0].isoformat(),
        "to_date": MONTH[-1].isoformat(),
        "max_active_runs": AT_A_TIME,
        "reprocess_behavior": "none",
        "run_backwards": False,
        "dag_run_conf": {},
    }
    deadline = time.monotonic() + _LOCKED_SECONDS
    while True:
        try:
            api.call("POST", "/backfills", json=body)
        except NightloopError as error:  # Airflow's own database is SQLite here, and does not wait for its lock
            if "Database is locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(1)
        else:
            return


def wait_for_month(api: AirflowApi, dag_ids: list[str]) -> None:
    """Wait until every night succeeded; a run that used up its attempts is cleared, as an operator would."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    wanted = {night.isoformat() for night in MONTH}
    while True:
        open_runs = [(dag_id, run) for dag_id in dag_ids for run in month_of(api, dag_id) if run["state"] != "success"]
        found = sum(len(month_of(api, dag_id)) for dag_id in dag_ids)
        if not open_runs and found == len(wanted) * len(dag_ids):
            return
        for dag_id, run in open_runs:
            if run["state"] == "failed":
                path = f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}/clear"
                api.call("POST", path, json={"dry_run": False, "only_failed": True})
        states = [f"{dag_id} {run['logical_date']} {run['state']}" for dag_id, run in open_runs]
        assert time.monotonic() < deadline, f"{found} runs; not done: {states[:10]}"
        time.sleep(2)


def month_of(api: AirflowApi, dag_id: str) -> list[dict[str, str]]:
    nights = set(MONTH)
    return [
        run for run in api.runs(dag_id) if run["logical_date"] and datetime.fromisoformat(run["logical_date"]) in nights
    ]


def run_calmly(loop: Loop, night: datetime) -> None:
    """Run one night of a backfill, job after job."""
    loop.ingest(night)
    for job in ("build_features", "score_batch", "load_scores", "measure_outcomes", "profile_partition"):
        loop.run(job, USE_CASE, "use_case", night)
    loop.run("decide_retraining", USE_CASE, "use_case", night, backfill="true")
