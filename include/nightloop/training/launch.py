"""Start the ranks of one training, follow them, and leave no process behind however it ends."""

import logging
import os
import re
import socket
import subprocess
import sys
import threading
import uuid
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nightloop.fault import Fault, NightloopError
from nightloop.training.worker import LAUNCHER, run_worker

log = logging.getLogger("nightloop.training")

HOSTS_VARIABLE = "NIGHTLOOP_TRAINING_HOSTS"
_MARK = "NIGHTLOOP_TRAINING"
_LAST_LINES = 20
_OF_RANK = re.compile(r"\[\d+\]<std(out|err)>:")  # as horovodrun marks them


class TrainingError(Exception):
    """A rank failed, or the ranks outlived their time; the message ends with the rank's own traceback."""


def run_ranks(work: Path, ranks: int, seconds: float) -> None:
    """Train as `work/spec.json` says, on so many ranks, within a bound of wall time.

    One rank runs in this process; more are started by horovodrun, over Gloo on the loopback interface or on the hosts
    that `NIGHTLOOP_TRAINING_HOSTS` names, which must see the work folder at the same path.

    Raises:
        NightloopError: the hosts are written wrongly, or have too few slots.
        TrainingError: with the traceback of the rank that failed first as its last lines.
    """
    hosts = read_hosts(os.environ.get(HOSTS_VARIABLE, ""), ranks)
    # else a rank that is killed now would be explained by the traceback of an earlier attempt
    for stale in work.glob("rank-*.error"):
        stale.unlink()
    if ranks == 1:
        run_worker(work)
        return
    command = command_of_ranks(ranks, [sys.executable, "-m", "nightloop.training.worker", str(work)], hosts)
    # ranks on one host share its cores, of which each would take all
    on_one_host = min(ranks, max(hosts.values(), default=ranks))
    code, lines = _run_within(seconds, command, {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // on_one_host))})
    if code is None:
        raise TrainingError(f"training on {ranks} ranks did not end within {seconds:.0f} s and was stopped")
    if code != 0:
        raise TrainingError(_explain(work, ranks, code, lines))


def _run_within(seconds: float, command: Sequence[str], more: Mapping[str, str]) -> tuple[int | None, list[str]]:
    """Run the launcher, and end whatever of it is left; return its exit code (None: time was up) and last lines."""
    mark = uuid.uuid4().hex
    own = {_MARK: mark, LAUNCHER: f"{socket.gethostname()}/{os.getpid()}"}
    process = subprocess.Popen(
        command,
        # Horovod waits for a silent rank for ever by default, and Python holds back what is printed into a pipe
        env={**os.environ, **own, "PYTHONUNBUFFERED": "1", "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": "120", **more},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        _kill_marked(mark)

    # a timer and not a timeout of `wait`: before that the output is read to its end, which a hung rank never closes
    timer = threading.Timer(seconds, expire)
    timer.start()
    try:
        lines = _follow(process)
        code = process.wait()
    finally:
        timer.cancel()
        _kill_marked(mark)
        process.wait()
    return (None if expired.is_set() else code), lines


def read_hosts(text: str, ranks: int) -> dict[str, int]:
    """Return the slots of each host that a setting names; none where it names none, which means this host.

    >>> read_hosts("gpu1:4,gpu2:4", 6)
    {'gpu1': 4, 'gpu2': 4}

    Raises:
        NightloopError: it is written otherwise, or the hosts have fewer slots than there are ranks.
    """
    if not text:
        return {}
    if not re.fullmatch(r"[\w.-]+:[1-9]\d*(,[\w.-]+:[1-9]\d*)*", text):
        raise NightloopError(Fault(HOSTS_VARIABLE, "host:slots,host:slots", text, "write it like gpu1:4,gpu2:4"))
    hosts = {name: int(slots) for name, slots in (part.split(":") for part in text.split(","))}
    if sum(hosts.values()) < ranks:
        remedy = "name more hosts, or lower `training.ranks` of the use case"
        raise NightloopError(Fault(HOSTS_VARIABLE, f"slots for {ranks} ranks", text, remedy))
    return hosts


def command_of_ranks(ranks: int, worker: Sequence[str], hosts: Mapping[str, int] | None = None) -> list[str]:
    """Return the command that runs so many copies of a worker as the ranks of one training, here or on some hosts."""
    horovodrun = [sys.executable, "-m", "nightloop.training.distributed", "-np", str(ranks), "--gloo"]
    # Horovod's cache of its checks is one pickle in the user's home, which trainings at the same time would share
    options = ["--gloo-timeout-seconds", "60", "--start-timeout", "60", "--disable-cache"]
    listed = ",".join(f"{name}:{slots}" for name, slots in (hosts or {}).items())
    where = ["-H", listed] if listed else ["--network-interfaces", "lo"]
    return [*horovodrun, *options, *where, *worker]


def _follow(process: subprocess.Popen[str]) -> list[str]:
    """Log each line as it comes; return the last ones of the ranks, or of the launcher where no rank said a word."""
    of_ranks: deque[str] = deque(maxlen=_LAST_LINES)
    of_launcher: deque[str] = deque(maxlen=_LAST_LINES)
    output: Iterable[str] = process.stdout or ()
    with process:
        for line in output:
            text = line.rstrip()
            log.info("%s", text)
            (of_ranks if _OF_RANK.match(text) else of_launcher).append(text)
    return list(of_ranks or of_launcher)


def _explain(work: Path, ranks: int, code: int, lines: list[str]) -> str:
    errors = sorted(work.glob("rank-*.error"), key=lambda path: path.stat().st_mtime_ns)
    if errors:
        return f"training on {ranks} ranks failed ({errors[0].stem}):\n{errors[0].read_text().rstrip()}"
    told = "\n".join(lines)
    where = f"training on {ranks} ranks ended with exit code {code}"
    return f"{where}: a rank was killed, or never met the others, and left no traceback:\n{told}"


def _kill_marked(mark: str) -> None:
    """Kill every process that carries this launch's mark in its environment, and their descendants' too."""
    import psutil

    # by mark and not by process group: horovodrun starts every rank in a session of its own
    for process in psutil.process_iter():
        try:
            if process.environ().get(_MARK) == mark and process.pid != os.getpid():
                process.kill()
        except psutil.Error:
            continue
