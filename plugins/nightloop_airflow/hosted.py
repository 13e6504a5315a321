"""Ask the job host for a job's guard. Knows no Airflow and imports nothing slow."""

import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from nightloop_airflow.guard import Orders
from nightloop_airflow.job_host import Request

HOST_VARIABLE = "NIGHTLOOP_JOB_HOST"
_KILLED = 137
_ANSWER_SECONDS = 30
_MODULE_FLAG = 2  # a command is `python -m module argument…`


class HostedGuard:
    """A guard that the job host forked, with the part of `subprocess.Popen` that a `GuardedProcess` needs."""

    def __init__(self, connection: socket.socket, output: BinaryIO) -> None:
        self._connection = connection
        self._answers = connection.makefile("rb")
        connection.settimeout(_ANSWER_SECONDS)
        self.pid = int(self._answers.readline() or 0)
        connection.settimeout(None)
        if not self.pid:
            raise ConnectionError("the job host closed the connection")
        self.stdout: BinaryIO | None = output
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code if the guard has ended."""
        # it is no child of this process: neither a signal nor waitpid tells of its end
        if self.returncode is None and not os.path.exists(f"/proc/{self.pid}"):  # noqa: PTH110 - asked every second
            self.wait()
        return self.returncode

    def wait(self) -> int:
        """Wait for the exit code; a guard that died without a word was killed."""
        if self.returncode is None:
            self.returncode = int(self._answers.readline() or _KILLED)
            self._answers.close()
            self._connection.close()
        return self.returncode


def start_hosted(
    command: Sequence[str], cwd: Path, environment: Mapping[str, str], orders: Orders
) -> HostedGuard | None:
    """Start a guarded job at the job host that the environment names; None where none answers."""
    address = environment.get(HOST_VARIABLE)
    if not address or list(command[1:_MODULE_FLAG]) != ["-m"]:
        return None
    request = Request(tuple(command[_MODULE_FLAG:]), str(cwd), environment, orders)
    reading, writing = os.pipe()
    output = os.fdopen(reading, "rb", buffering=0)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(address)
        socket.send_fds(connection, [request.to_bytes()], [writing])
        return HostedGuard(connection, output)
    # a host that answers too late finds the connection closed, and ends what it has forked
    except OSError:
        with suppress(OSError):
            connection.close()
        output.close()
        return None
    finally:
        os.close(writing)
