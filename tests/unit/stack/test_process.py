"""Processes of the stack are revived when they die and ended with everything below them, and no other is touched."""

import os
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from nightloop.settings import Settings
from nightloop.stack.ports import Ports
from nightloop.stack.process import STACK_VARIABLE, Identity, Service, SupervisedProcess, end_processes, find_marked
from nightloop.stack.secrets import StackSecrets
from nightloop.stack.stack import StackState, find_stack, stop_stack

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
PARENT = [
    sys.executable,
    "-c",
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(60)",
]


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[[list[str]], SupervisedProcess]]:
    started: list[SupervisedProcess] = []

    def start(command: list[str]) -> SupervisedProcess:
        service = Service("sleeper", command, dict(os.environ), tmp_path, lambda: True)
        started.append(SupervisedProcess(service, tmp_path / "logs"))
        started[-1].start()
        return started[-1]

    yield start
    identities = [process.identity for process in started]
    end_processes([found for identity in identities if identity and (found := identity.find())], 2)
    for process in started:
        process.reap()


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_dead_process_is_started_again_after_a_wait(supervise: Callable[[list[str]], SupervisedProcess]) -> None:
    process = supervise(SLEEP)
    first = process.identity
    assert first
    assert not process.revive()
    os.kill(first.pid, 9)
    wait_until(lambda: process.exit_code() is not None)
    assert not process.revive(), "its wait has just begun"
    wait_until(process.revive)
    assert process.restarts == 1
    assert process.identity != first


def test_what_a_dead_process_left_is_ended_before_the_next_one_starts(
    supervise: Callable[[list[str]], SupervisedProcess],
) -> None:
    process = supervise([part.replace(", start_new_session=True", "") for part in PARENT])
    wait_until(lambda: process.read_log_end().strip().isdigit())
    orphan, first = psutil.Process(int(process.read_log_end())), process.identity
    assert first
    os.kill(first.pid, 9)
    wait_until(lambda: process.exit_code() is not None)
    assert orphan.status() != psutil.STATUS_ZOMBIE
    process.revive()
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


def test_whole_tree_ends_even_where_a_child_left_the_group(
    supervise: Callable[[list[str]], SupervisedProcess],
) -> None:
    process = supervise(PARENT)
    wait_until(lambda: process.log_file.read_text().endswith("\n"))
    child = psutil.Process(int(process.log_file.read_text()))
    identity = process.identity
    assert identity
    assert end_processes([psutil.Process(identity.pid)], 5) == 2
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_recycled_pid_is_not_the_recorded_process() -> None:
    own = Identity.of(os.getpid())
    assert own.find() is not None
    assert Identity(own.pid, own.started - 3600).find() is None


def test_orphans_are_found_by_the_stack_they_belong_to() -> None:
    stack_id = uuid.uuid4().hex
    orphan = subprocess.Popen(SLEEP, env={**os.environ, STACK_VARIABLE: stack_id})
    stranger = subprocess.Popen(SLEEP, env={**os.environ, STACK_VARIABLE: "another"})
    try:
        wait_until(lambda: [process.pid for process in find_marked(stack_id)] == [orphan.pid])
        end_processes(find_marked(stack_id), 5)
        assert orphan.wait(5) < 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_stack_whose_supervisor_was_killed_is_ended_by_its_record(tmp_path: Path) -> None:
    stack_id = uuid.uuid4().hex
    service = subprocess.Popen(SLEEP, env={**os.environ, STACK_VARIABLE: stack_id}, start_new_session=True)
    gone = Identity(os.getpid(), 0.0)
    StackState(stack_id, gone, {"sleeper": Identity.of(service.pid)}, {}).write(tmp_path)
    assert find_stack(tmp_path) is None
    assert stop_stack(tmp_path) == 1
    assert service.wait(5) < 0
    assert stop_stack(tmp_path) == 0


def test_secrets_are_kept_and_private(tmp_path: Path) -> None:
    first = StackSecrets.of_home(tmp_path)
    assert StackSecrets.of_home(tmp_path) == first
    assert StackSecrets.of_home(tmp_path / "other") != first
    file = tmp_path / "run" / "secrets.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_taken_port_is_left_to_its_owner() -> None:
    import socket

    with socket.socket() as owner:
        owner.bind(("127.0.0.1", 0))
        owner.listen()
        taken = owner.getsockname()[1]
        assert Ports.choose({"NIGHTLOOP_AIRFLOW_PORT": str(taken)}).airflow != taken


def test_secrets_stay_out_of_command_lines(tmp_path: Path) -> None:
    from nightloop.stack import services
    from nightloop.stack.stack import Stack

    stack = Stack(Settings.from_environment({"NIGHTLOOP_HOME": str(tmp_path)}))
    parts = [*stack._build_stores({}), *services.build_airflow(stack.ports, {})]
    words = [word for part in parts for word in part.command]
    assert not any(secret in word for word in words for secret in vars(stack.secrets).values())
