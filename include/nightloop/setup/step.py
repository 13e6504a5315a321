"""One step of set-up: skipped where it is done, said aloud and timed where it is not. Standard library only."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
CACHE = CHECKOUT / ".cache"
STAMPS = CHECKOUT / ".venv" / ".nightloop"
_HEARTBEAT_SECONDS = 20


class SetupError(Exception):
    """Something that the user can mend; set-up goes on from here when it is run again."""


@dataclass(frozen=True)
class Step:
    """A part of set-up. `state` names what it makes: while it is the stamped one, the step is skipped."""

    name: str
    state: Callable[[], str]
    work: Callable[[], str]


def run_steps(steps: Sequence[Step]) -> None:
    """Run the steps in order; the stamp of each is written last, so an interrupted one is done again."""
    STAMPS.mkdir(parents=True, exist_ok=True)
    for number, step in enumerate(steps, 1):
        label = f"[{number}/{len(steps)}] {step.name}"
        stamp = STAMPS / step.name.replace(" ", "-")
        state = step.state()
        if stamp.is_file() and stamp.read_text() == state:
            say(f"{label}: there already")
            continue
        start = time.monotonic()
        with _heartbeat(label, start):
            summary = step.work()
        # named again, for the work has changed what names it
        stamp.write_text(step.state())
        say(f"{label}: {summary} ({time.monotonic() - start:.1f} s)")


def run_quietly(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run a command with its output in a log.

    Raises:
        SetupError: it failed; carries the end of the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as sink:
        code = subprocess.run(
            command,
            env={**os.environ, **(environment or {})},
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if code:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        raise SetupError(f"`{' '.join(command[:4])} …` ended with exit code {code}; the end of {log}:\n{end}")


def digest(*texts: str) -> str:
    """Return a short name of some content."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def find_user_cache() -> Path:
    """Return the folder of this user that keeps built things for the next checkout."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nightloop"


def say(text: str) -> None:
    sys.stdout.write(f"setup: {text}\n")
    sys.stdout.flush()


@contextmanager
def _heartbeat(label: str, start: float) -> Iterator[None]:
    """Say every while that a long step is still at work."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(_HEARTBEAT_SECONDS):
            say(f"{label}: at work for {time.monotonic() - start:.0f} s …")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
