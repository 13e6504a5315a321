"""Run one command and answer for its whole process tree: `python -m nightloop_airflow.guard '<json>' command…`.

The guard stands between an Airflow task and its job, in a session of its own. The task's death ends the guard
(PR_SET_PDEATHSIG), the guard's death ends the command, and whatever ends the command ends all its descendants: the
guard adopts orphans (PR_SET_CHILD_SUBREAPER), so it also finds those that left the command's process group and lost
their parent, such as training ranks. After a forced ending it runs the clean-up command. Linux only; knows no Airflow.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, Self

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_WAKING = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
_POLL_SECONDS = 1.0
_KILL_ROUNDS = 10
_CLEANUP_SECONDS = 60
_SIGNAL_BASE = 128  # what a shell adds to the signal that ended a command
_libc = ctypes.CDLL(None)


@dataclass(frozen=True)
class Orders:
    """What the guard must know beside the command.

    `cleanup` is run after a forced ending, with the content of `session_file` appended, if that file exists by then.
    """

    parent: int
    grace_seconds: float
    session_file: str = ""
    cleanup: tuple[str, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        document = json.loads(text)
        return cls(**{**document, "cleanup": tuple(document["cleanup"])})


class Job(Protocol):
    """The part of `subprocess.Popen` that a guard needs of what it guards."""

    def poll(self) -> int | None: ...

    def wait(self) -> int: ...


def guard(orders: Orders, start: Callable[[], Job], is_abandoned: Callable[[], bool]) -> int:
    """Start a job, see it to its end and return its exit code; 128 + signal if a signal ended it, 143 if the guard did.

    `is_abandoned` says whether whoever asked for the job is gone; it is asked once a second.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    # blocked before the job starts, then waited for: none is lost between a look at the job and the wait
    signal.pthread_sigmask(signal.SIG_BLOCK, _WAKING)
    job = start()
    is_stopped = _wait(job, is_abandoned)
    ended = end_descendants(orders.grace_seconds)
    if is_stopped:
        _say(f"WARNING nightloop_airflow.guard: stopped the job and ended {ended} process(es)")
    code = job.wait()
    if is_stopped or code < 0:
        _clean_up(orders)
    if is_stopped:
        return _SIGNAL_BASE + signal.SIGTERM
    return code if code >= 0 else _SIGNAL_BASE - code


def end_descendants(grace_seconds: float) -> int:
    """End every descendant of this process, SIGKILL after the grace; return how many there were."""
    tree = _descendants()
    for process in tree:
        with suppress(psutil.Error):
            process.terminate()
    psutil.wait_procs(tree, timeout=grace_seconds)
    # in rounds: those that die may have started others, or leave some to be adopted
    for _ in range(_KILL_ROUNDS):
        alive = _descendants()
        if not alive:
            break
        for process in alive:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=_POLL_SECONDS)
    return len(tree)


def _descendants() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def prepare_job() -> None:
    """Undo in the job's own process what the guard set for itself, and tie the job's life to the guard's."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAKING)


def _wait(job: Job, is_abandoned: Callable[[], bool]) -> bool:
    """Wait for the job to end; return True if it is to be stopped instead."""
    while job.poll() is None:
        received = signal.sigtimedwait(_WAKING, _POLL_SECONDS)
        if received is not None and received.si_signo != signal.SIGCHLD:
            return True
        if is_abandoned():
            return True
    return False


def _clean_up(orders: Orders) -> None:
    session_file = Path(orders.session_file)
    if not orders.cleanup or not session_file.is_file():
        return
    command = [*orders.cleanup, session_file.read_text().strip()]
    try:
        ended = subprocess.run(command, timeout=_CLEANUP_SECONDS, capture_output=True, text=True, check=False)
        report = f"exit code {ended.returncode} {ended.stdout.strip()} {ended.stderr.strip()[-500:]}"
    except (OSError, subprocess.TimeoutExpired) as error:
        report = str(error)
    _say(f"INFO nightloop_airflow.guard: clean-up after the forced ending: {report}")


def _say(line: str) -> None:
    with suppress(OSError):
        os.write(sys.stdout.fileno(), f"{line}\n".encode())


def _start_command(command: Sequence[str]) -> Job:
    environment = {**os.environ, "NIGHTLOOP_PARENT_PID": str(os.getpid())}
    return subprocess.Popen(
        command,
        env=environment,
        start_new_session=True,
        preexec_fn=prepare_job,  # noqa: PLW1509 - the guard has one thread
    )


def main(argv: Sequence[str]) -> int:
    """Guard the command that follows the orders, for the process that started this one."""
    orders = Orders.from_json(argv[0])
    # asked for beside PR_SET_PDEATHSIG, which is silent about a parent that died before it was set
    return guard(orders, lambda: _start_command(argv[1:]), lambda: os.getppid() != orders.parent)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
