"""One supervised process: started in a group of its own, named by pid and start time, ended with its whole tree."""

import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

log = logging.getLogger("nightloop.stack")

STACK_VARIABLE = "NIGHTLOOP_STACK_ID"
_FIRST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 30.0
_STEADY_SECONDS = 60.0
_KILL_SECONDS = 5.0
_POLL_SECONDS = 0.1
_CLOCK_TOLERANCE_SECONDS = 1.0  # start times count from the boot, which moves when the clock is set


@dataclass(frozen=True)
class Identity:
    """A process as the operating system knows it; a recycled pid has another start time."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> "Identity":
        return cls(pid, psutil.Process(pid).create_time())

    def find(self) -> psutil.Process | None:
        """Return the process if it still is the one that was meant."""
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.started) < _CLOCK_TOLERANCE_SECONDS and _is_at_work(process):
                return process
        return None


@dataclass(frozen=True)
class Service:
    """How one process is started, in which whole environment, and when it may be used."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    is_ready: Callable[[], bool]


@dataclass
class SupervisedProcess:
    """A service's process, started again with growing waits while it keeps dying."""

    service: Service
    logs: Path
    restarts: int = 0
    _process: "subprocess.Popen[bytes] | None" = None
    _started: float = 0.0
    _wait: float = _FIRST_WAIT_SECONDS
    _again_at: float = field(default=0.0)

    @property
    def log_file(self) -> Path:
        return self.logs / f"{self.service.name}.log"

    @property
    def identity(self) -> Identity | None:
        with contextlib.suppress(psutil.NoSuchProcess):
            return Identity.of(self._process.pid) if self._process else None
        return None

    def start(self) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        self.service.folder.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as sink:
            self._process = subprocess.Popen(
                self.service.command,
                env=dict(self.service.environment),
                cwd=self.service.folder,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started = time.monotonic()
        self._again_at = 0.0

    def reap(self) -> None:
        """Take note that the process was ended, so that no zombie stays."""
        if self._process is not None:
            self._process.wait()

    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def revive(self) -> bool:
        """Start the process again if it died and its wait is over; says whether it was started."""
        if self._process is None or (code := self._process.poll()) is None:
            return False
        now = time.monotonic()
        if not self._again_at:
            self._wait = _FIRST_WAIT_SECONDS if now - self._started > _STEADY_SECONDS else self._wait
            self._again_at = now + self._wait
            log.warning("%s ended with exit code %d; starting it again in %.0f s", self.service.name, code, self._wait)
            orphans = end_processes(_find_session(self._process.pid), _KILL_SECONDS)  # lest they work beside the next
            if orphans:
                log.warning("%s left %d at work, which were ended", self.service.name, orphans)
            self._wait = min(2 * self._wait, _LONGEST_WAIT_SECONDS)
        if now < self._again_at:
            return False
        self.restarts += 1
        self.start()
        log.warning("%s started again (restart %d)", self.service.name, self.restarts)
        return True

    def read_log_end(self, characters: int = 2000) -> str:
        return self.log_file.read_text(errors="replace")[-characters:] if self.log_file.exists() else ""


def end_processes(processes: Iterable[psutil.Process], grace_seconds: float) -> int:
    """Ask processes and everything below them to end, then make them; returns how many there were."""
    # gathered before the first signal: once a parent has ended, nothing tells whose its children were
    tree: dict[int, psutil.Process] = {}
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            tree.update({member.pid: member for member in [process, *process.children(recursive=True)]})
    _signal(tree.values(), signal.SIGTERM)
    alive = _wait_gone(list(tree.values()), grace_seconds)
    _signal(alive, signal.SIGKILL)
    _wait_gone(alive, _KILL_SECONDS)
    return len(tree)


def find_marked(stack_id: str) -> list[psutil.Process]:
    """Return this user's processes that carry the stack's id in their environment, wherever they were re-parented."""
    return _find(lambda each: each.pid != os.getpid() and each.environ().get(STACK_VARIABLE) == stack_id)


def _find_session(leader: int) -> list[psutil.Process]:
    """Return what is at work in the session of a process that may be gone; its pid is not given away while it lasts."""
    return _find(lambda each: os.getsid(each.pid) == leader and _is_at_work(each))


def _find(belongs: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if belongs(process):
                found.append(process)
    return found


def _wait_gone(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Return those that are still at work after some seconds; a zombie is not, whoever should have reaped it."""
    deadline = time.monotonic() + seconds
    while (alive := [process for process in processes if _is_at_work(process)]) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return alive


def _is_at_work(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
