"""Start jobs from a warm interpreter: `python -m nightloop_airflow.job_host <socket>`.

A job imports libraries for longer than it works: pyspark 2 s, Great Expectations 8 s, MLflow 4 s on one core. The
host imports them once, before it accepts anything, and forks: each job is still a process of its own under its own
guard, with the environment, directory and output that its task gives. Only third-party libraries are warm; Nightloop's
own code is imported afresh by every job.

One request per connection on a socket that only its owner may open: a line of JSON with the descriptor of the job's
output beside it. The host answers with the guard's process id, then with the exit code. A connection that the task's
end closes ends the job.
"""

import gc
import importlib
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Self

from nightloop_airflow.guard import Orders, guard, prepare_job

WARM_MODULES = (
    "pandas",
    "pyarrow.dataset",
    "pyspark.sql.connect.session",
    "pyspark.sql.functions",
    "sqlalchemy",
    "sqlglot",
    "onnxruntime",
    "great_expectations",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "mlflow",
    "skl2onnx",
    "evidently",
    "openlineage.client",
)
_REQUEST_BYTES = 1 << 20
_BACKLOG = 64
_CRASHED = 70


@dataclass(frozen=True)
class Request:
    """One job to start: its module's command line, where, and with what."""

    command: tuple[str, ...]
    cwd: str
    environment: Mapping[str, str]
    orders: Orders

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, message: bytes) -> Self:
        document = json.loads(message)
        orders = Orders.from_json(json.dumps(document["orders"]))
        return cls(tuple(document["command"]), document["cwd"], document["environment"], orders)


class ForkedJob:
    """A job forked from this process, with the part of `subprocess.Popen` that a guard needs."""

    def __init__(self, run: Callable[[], int]) -> None:
        self._code: int | None = None
        self._pid = os.fork()
        if self._pid == 0:
            _end_with(run)

    def poll(self) -> int | None:
        if self._code is None:
            self._reap(os.WNOHANG)
        return self._code

    def wait(self) -> int:
        while self._code is None:
            self._reap(0)
        return self._code

    def _reap(self, options: int) -> None:
        with suppress(InterruptedError):
            pid, status = os.waitpid(self._pid, options)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)


def serve(path: Path) -> None:
    """Import what is slow to import, then fork one guarded job per connection until told to end."""
    for module in WARM_MODULES:
        importlib.import_module(module)
    # a collection would write to what was imported, page after page that all forks share
    gc.freeze()
    # bound only now, for the address says that the host is ready; private from its first moment on
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        mask = os.umask(0o177)
        server.bind(str(path))
        os.umask(mask)
        server.listen(_BACKLOG)
        # nobody waits for the guards: the kernel reaps them
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        print(f"job host ready, {len(WARM_MODULES)} libraries warm", flush=True)  # noqa: T201 - a process's own log
        while True:
            connection, _ = server.accept()
            if os.fork() == 0:
                # a fork that kept it would go on listening in the place of a host that has died
                server.close()
                _end_with(partial(_answer, connection))
            connection.close()


def _answer(connection: socket.socket) -> int:
    """Be the guard of one job; see `nightloop_airflow.guard.guard`."""
    os.setsid()
    # ignored, as the host has it, the exit code of the guard's own job would be lost
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, (output, *_), _, _ = socket.recv_fds(connection, _REQUEST_BYTES, 1)
    request = Request.from_bytes(message)
    os.dup2(output, sys.stdout.fileno())
    os.dup2(output, sys.stderr.fileno())
    os.close(output)
    # the request's PYTHONUNBUFFERED comes too late for an interpreter that runs
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.chdir(request.cwd)
    os.environ.clear()
    os.environ.update(request.environment)
    connection.sendall(f"{os.getpid()}\n".encode())
    connection.setblocking(False)
    code = guard(request.orders, lambda: _start(request), lambda: _is_closed(connection))
    connection.setblocking(True)
    with suppress(OSError):
        connection.sendall(f"{code}\n".encode())
    return 0


def _start(request: Request) -> ForkedJob:
    os.environ["NIGHTLOOP_PARENT_PID"] = str(os.getpid())
    return ForkedJob(lambda: _run_module(request.command))


def _run_module(command: Sequence[str]) -> int:
    os.setsid()
    prepare_job()
    module, *arguments = command
    return int(importlib.import_module(module).main(arguments))


def _is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _end_with(run: Callable[[], int]) -> None:
    """Run in a fresh fork and end the process with the answer; nothing of the parent's is unwound."""
    code = _CRASHED
    try:
        code = run()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - the process boundary
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
