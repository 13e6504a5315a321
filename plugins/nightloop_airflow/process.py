"""Run a command under its guard and read what it says, line by line. Knows no Airflow."""

import codecs
import os
import re
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from nightloop_airflow.guard import Orders
from nightloop_airflow.hosted import start_hosted

_POLL_SECONDS = 1.0
_CHUNK_BYTES = 65_536
_LINE_CHARACTERS = 8_192
_LINE_END = re.compile(r"[\r\n]+")  # progress bars end their lines by a carriage return alone


class GuardedProcess:
    """A running command; its tree ends with it, with `stop`, with the `with` block and with this process."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        grace_seconds: float = 3.0,
        session_file: Path | None = None,
        cleanup: Sequence[str] = (),
    ) -> None:
        orders = Orders(os.getpid(), grace_seconds, str(session_file or ""), tuple(cleanup))
        self._process = start_hosted(command, cwd, environment, orders) or subprocess.Popen(
            [sys.executable, "-m", "nightloop_airflow.guard", orders.to_json(), *command],
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Process id of the guard."""
        return self._process.pid

    def lines(self) -> Iterator[str]:
        """Yield what the tree prints, without blank lines, until it ended; a very long line comes in pieces."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        pending = ""
        for chunk in self._chunks():
            *whole, pending = _LINE_END.split(pending + decoder.decode(chunk))
            yield from (line for line in whole if line.strip())
            while len(pending) > _LINE_CHARACTERS:
                yield pending[:_LINE_CHARACTERS]
                pending = pending[_LINE_CHARACTERS:]
        if pending.strip():
            yield pending

    def wait(self) -> int:
        """Return the exit code; see `nightloop_airflow.guard.guard`."""
        return self._process.wait()

    def stop(self) -> None:
        """Ask the guard to end the tree; returns at once, so that a signal handler may call it."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGTERM)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """End the tree if it still runs, wait for that, and close the pipe."""
        self.stop()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _chunks(self) -> Iterator[bytes]:
        if self._process.stdout is None:
            return
        descriptor = self._process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while True:
                if selector.select(_POLL_SECONDS):
                    chunk = os.read(descriptor, _CHUNK_BYTES)
                    if not chunk:
                        return
                    yield chunk
                # what has left the tree may hold the pipe open for ever
                elif self._process.poll() is not None:
                    return
