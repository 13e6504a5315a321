"""`nightloop prove`: the job `prove_asof` by hand, on the Spark server of the stack where one runs."""

import os
import subprocess
import sys
from collections.abc import Mapping

from nightloop.engine.server import TOKEN_VARIABLE
from nightloop.fault import Fault, NightloopError
from nightloop.folders.loading import load_use_case
from nightloop.run import parse_instant
from nightloop.settings import CHECKOUT, Settings
from nightloop.stack.secrets import StackSecrets
from nightloop.stack.stack import find_stack
from nightloop.stores.ledger.ledger import Ledger


def run_proof(settings: Settings, use_case: str, as_of: str | None, sample: int) -> int:
    """Run the job as of the last closed night, or as of the night to prove, and return its exit code.

    Raises:
        NightloopError: there is no such use case, no night of it is closed, or `as_of` is no instant.
    """
    load_use_case(use_case, settings.folders)
    night = _read_instant(as_of) if as_of else _last_night(settings, use_case)
    command = [sys.executable, "-m", "jobs.prove_asof", f"--scope={use_case}", "--kind=use_case", f"--as-of={night}"]
    command += [f"--set=sample={sample}", *([f"--set=night={night}"] if as_of else [])]
    environment = {**os.environ, **_server_environment(settings)}
    return subprocess.run(command, cwd=CHECKOUT, env=environment, check=False).returncode


def _read_instant(text: str) -> str:
    try:
        return parse_instant(text).isoformat()
    except ValueError:
        raise NightloopError(
            Fault("--as-of", "a night, ISO 8601, e.g. 2025-03-05T02:00Z", text, "correct it")
        ) from None


def _last_night(settings: Settings, use_case: str) -> str:
    ledger = Ledger.open(settings.ledger_url)
    nights = ledger.closed_nights(use_case)
    ledger.close()
    if not nights:
        raise NightloopError(Fault(f"nights of {use_case}", "one that is closed", "none", "run a night first"))
    return nights[-1].isoformat()


def _server_environment(settings: Settings) -> Mapping[str, str]:
    """Return how to reach the stack's Spark server; without a stack the job opens a session of its own."""
    running = None if settings.spark_remote else find_stack(settings.home)
    if running is None:
        return {}
    token = StackSecrets.of_home(settings.home).spark_token
    return {"SPARK_REMOTE": running.urls["spark"], TOKEN_VARIABLE: token, "NIGHTLOOP_HOME": str(settings.home)}
