"""Attempts that die, linger or race: the night ends as if only one had run, and a zombie is told that it is one."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import psutil
import pytest
from deltalake import DeltaTable

from nightloop.dataset import DatasetRef
from nightloop.engine.session import open_session
from nightloop.fault import FencedError
from nightloop.run import EXIT_FENCED, EXIT_OK, EXIT_TRANSIENT, Replay
from nightloop.settings import CHECKOUT
from nightloop.stores.lake.lake import Lake
from nightloop.stores.ledger.ledger import Ledger
from tests.e2e.compare import Content, assert_equal, read_night
from tests.faults.restaurant import FOLDERS, NIGHTS, USE_CASE, Restaurant
from tests.killable import KillableServer
from tests.loop import Loop, copy_home

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("error:::(nightloop|jobs)"),
]
NIGHT, NEXT = NIGHTS[3], NIGHTS[4]
CLEAN = DatasetRef("clean", "visits")
CLEAN_ARGUMENTS = ("clean_source", "visits", "source")


@pytest.fixture(scope="module")
def told(server: KillableServer, empty_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Restaurant:
    """Three nights at once, then one more: the loop whose last night every test takes up again."""
    home = tmp_path_factory.mktemp("attempts") / "home"
    copy_home(empty_home, home)
    restaurant = Restaurant(Loop(home, USE_CASE, server.remote, (FOLDERS,)))
    restaurant.land_nights(NIGHTS[:5])
    restaurant.loop.ingest(NIGHTS[2], NIGHTS[0])
    restaurant.loop.ingest(NIGHT)
    restaurant.loop.run("build_features", USE_CASE, "use_case", NIGHT, NIGHTS[0])
    return restaurant


@pytest.fixture(scope="module")
def undisturbed(told: Restaurant) -> Content:
    return read_night(told.loop, NIGHT)


@pytest.fixture
def ledger(told: Restaurant) -> Iterator[Ledger]:
    opened = Ledger.open(told.loop.settings.ledger_url)
    yield opened
    opened.close()


def test_a_job_whose_parent_was_killed_ends_and_publishes_nothing(told: Restaurant, undisturbed: Content) -> None:
    """The worker dies, its job does not: the job has to notice, or it would race its own retry."""
    versions = _versions(told)
    command = [sys.executable, "-c", _ORPHANING, *_job_argv(told.loop, "build_features", USE_CASE, "use_case", NIGHT)]
    environment = {**os.environ, **told.loop.environment}
    parent = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    job = psutil.Process(int(parent.stdout.readline()))
    _read_until(parent, "spine …")
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert _is_gone(job, 10), "the orphan lives on"
    told.loop.run("build_features", USE_CASE, "use_case", NIGHT)
    assert_equal(undisturbed, read_night(told.loop, NIGHT), "a night whose worker was killed")
    assert _versions(told) == versions + 1, "one commit, that of the attempt which nobody killed"


def test_a_zombie_that_begins_late_is_fenced(told: Restaurant, undisturbed: Content, ledger: Ledger) -> None:
    """It drew its token, slept through its successor, and wakes with other rows in its hands."""
    replay = Replay("visits", (NIGHT,))
    late = ledger.draw_token(replay, "clean_source", "the zombie")
    told.loop.run(*CLEAN_ARGUMENTS, NIGHT)
    with pytest.raises(FencedError, match="newer attempt"):
        ledger.assert_not_fenced(replay, "clean_source", late)
    with open_session(told.loop.remote, str(uuid.uuid4())) as spark:  # its own one was closed by the successor
        lake = Lake(spark, told.loop.settings.lake)
        other = lake.read(CLEAN, first=NIGHT, last=NIGHT).limit(1)
        with pytest.raises(FencedError, match=f"expected a commit with token {late}"):
            lake.publish(other, CLEAN, replay, late)
    assert_equal(undisturbed, read_night(told.loop, NIGHT), "a night with a zombie")


def test_tokens_rise_when_the_clock_is_set_back(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    replay = Replay("visits", (NEXT,))
    before = ledger.draw_token(replay, "land_source")
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert ledger.draw_token(replay, "land_source") > before


def test_a_ledger_restored_from_a_backup_fences_nobody_who_is_alive(told: Restaurant, undisturbed: Content) -> None:
    """The lake remembers tokens that the restored ledger never drew; the next attempt draws a higher one."""
    path = Path(told.loop.settings.ledger_url.removeprefix("sqlite:///"))
    backup = path.with_suffix(".backup")
    _copy(path, backup)
    told.loop.run(*CLEAN_ARGUMENTS, NIGHT)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    backup.replace(path)
    told.loop.run(*CLEAN_ARGUMENTS, NIGHT)
    assert_equal(undisturbed, read_night(told.loop, NIGHT), "a night after its ledger was restored")


@pytest.mark.parametrize("said", ["clean …", "quarantine …", "publish …", "publish took"])
def test_sigterm_ends_a_job_at_any_moment(told: Restaurant, undisturbed: Content, said: str) -> None:
    process = told.loop.start(*CLEAN_ARGUMENTS, NIGHT)
    told.loop.wait_for(said, "clean_source", process)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(60) == -signal.SIGTERM
    told.loop.run(*CLEAN_ARGUMENTS, NIGHT)
    assert_equal(undisturbed, read_night(told.loop, NIGHT), "a night whose job was told to end")


def test_two_runs_of_one_night_at_once(told: Restaurant, undisturbed: Content) -> None:
    """The younger attempt wins, whoever is faster; the older one is told so, and no row stands twice."""
    jobs = ("land_source", "clean_source")
    for job in jobs:
        first = told.loop.start(job, "visits", "source", NIGHT)
        second = _start_beside(told.loop, job, "visits", "source", NIGHT)
        codes = {first.wait(300), second.wait(300)}
        assert EXIT_OK in codes, told.loop.log_of(job).read_text()[-3000:]
        assert codes <= {EXIT_OK, EXIT_FENCED, EXIT_TRANSIENT}, told.loop.log_of(job).read_text()[-3000:]
    assert_equal(undisturbed, read_night(told.loop, NIGHT), "a night run twice at once")


def test_several_nights_of_one_table_at_once(told: Restaurant) -> None:
    before = {night: read_night(told.loop, night) for night in NIGHTS[:4]}
    processes = [_start_beside(told.loop, "clean_source", "visits", "source", night) for night in NIGHTS[:4]]
    for process in processes:
        assert process.wait(300) == EXIT_OK
    for night, content in before.items():
        assert_equal(content, read_night(told.loop, night), f"the night {night:%F}, run beside three others")


def test_the_time_zone_of_the_host_changes_nothing(told: Restaurant, undisturbed: Content) -> None:
    environment = {**os.environ, **told.loop.environment, "TZ": "Pacific/Kiritimati"}
    for job, scope, kind in (
        ("land_source", "visits", "source"),
        ("clean_source", "visits", "source"),
        ("build_features", USE_CASE, "use_case"),
    ):
        command = [sys.executable, *_job_argv(told.loop, job, scope, kind, NIGHT)]
        subprocess.run(command, cwd=CHECKOUT, env=environment, check=True, capture_output=True)
    assert_equal(undisturbed, read_night(told.loop, NIGHT), "a night computed fourteen hours ahead of UTC")


def test_everything_killed_at_once_and_started_again(
    told: Restaurant, undisturbed: Content, server: KillableServer
) -> None:
    """As when the machine loses power: jobs and Spark die in the middle of a publication."""
    process = told.loop.start("build_features", USE_CASE, "use_case", NIGHT)
    told.loop.wait_for("publish …", "build_features", process)
    server.end()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    server.start()
    told.loop.run("build_features", USE_CASE, "use_case", NIGHT)
    assert_equal(undisturbed, read_night(told.loop, NIGHT), "a night in which everything died")


def test_a_server_that_runs_out_of_memory_is_named_with_its_setting(
    told: Restaurant, undisturbed: Content, server: KillableServer
) -> None:
    process = told.loop.start(*CLEAN_ARGUMENTS, NIGHT)
    told.loop.wait_for("connect took", "clean_source", process)
    server.end()
    code = process.wait(300)
    server.start()
    said = told.loop.log_of("clean_source").read_text()
    assert code == EXIT_TRANSIENT, said[-3000:]
    assert "NIGHTLOOP_SPARK_MEMORY_MB" in said
    told.loop.run(*CLEAN_ARGUMENTS, NIGHT)
    assert_equal(undisturbed, read_night(told.loop, NIGHT), "a night whose server ended")


_ORPHANING = """
import os, subprocess, sys
environment = {**os.environ, "NIGHTLOOP_PARENT_PID": str(os.getpid())}
job = subprocess.Popen([sys.executable, *sys.argv[1:]], env=environment, start_new_session=True)
print(job.pid, flush=True)
job.wait()
"""


def _job_argv(loop: Loop, job: str, scope: str, kind: str, night: datetime) -> Sequence[str]:
    result = loop.home / f"{job}-{night:%j}-{time.monotonic_ns()}.result"
    return ("-m", f"jobs.{job}", *loop.arguments(result, scope, kind, night, None, {}))


def _start_beside(loop: Loop, job: str, scope: str, kind: str, night: datetime) -> "subprocess.Popen[bytes]":
    """Start a job whose log and result are its own, beside others of its name."""
    environment = {**os.environ, **loop.environment}
    with (loop.home / f"{job}-{night:%j}.log").open("wb") as log:
        command = [sys.executable, *_job_argv(loop, job, scope, kind, night)]
        return subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=log, stderr=subprocess.STDOUT)


def _read_until(process: "subprocess.Popen[str]", said: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if said in line:
            return
    raise AssertionError(f"never said `{said}`")


def _is_gone(process: psutil.Process, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False


def _versions(restaurant: Restaurant) -> int:
    """Return how many commits the features' table has."""
    (table,) = Path(restaurant.loop.settings.lake, "features", USE_CASE).iterdir()
    return DeltaTable(str(table)).version()


def _copy(path: Path, backup: Path) -> None:
    script = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))"
    subprocess.run([sys.executable, "-c", script, path, backup], check=True)
