"""A Spark server that tests may kill."""

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nightloop.engine.server import SMALL_NIGHTS, TOKEN_VARIABLE, ConnectServer, find_free_port
from tests.loop import job_environment

_READY_SECONDS = 240


@dataclass
class KillableServer:
    """A Spark Connect server that comes back on the same port with the same token."""

    server: ConnectServer
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def remote(self) -> str:
        return self.server.remote

    def start(self) -> None:
        self.server.folder.mkdir(parents=True, exist_ok=True)
        small = {name: os.environ.get(name, value) for name, value in SMALL_NIGHTS.items()}
        with job_environment(small), (self.server.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.server.command(),
                env=dict(self.server.environment()),
                cwd=self.server.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + _READY_SECONDS
        while not self.server.is_ready():
            assert self.process.poll() is None, "the Spark server ended; see its server.log"
            assert time.monotonic() < deadline, "the Spark server took too long to answer"
            time.sleep(0.1)

    def end(self, number: int = signal.SIGKILL) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, number)
        self.process.wait(60)


@contextmanager
def killable_server(home: Path) -> Iterator[KillableServer]:
    """Run a server for small nights, its token in this process's environment."""
    token = os.environ.setdefault(TOKEN_VARIABLE, secrets.token_urlsafe(24))
    killable = KillableServer(ConnectServer(home, token, find_free_port(), memory_mb=1536))
    killable.start()
    try:
        yield killable
    finally:
        killable.end(signal.SIGTERM)
