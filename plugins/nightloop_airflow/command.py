"""What can be said about a job's process without Airflow: its command line, environment, log levels and exit codes."""

import logging
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from nightloop.run import EXIT_INPUT, EXIT_OK, EXIT_SKIPPED
from nightloop_airflow.run_key import Run

Outcome = Literal["success", "skip", "fail", "retry"]

INTERRUPT = (sys.executable, "-m", "nightloop.engine.interrupt", "--session")
_EXIT_USAGE = 2  # argparse's: a wrong command line stays wrong
_SIGNAL_BASE = 128
_OUTCOMES: Mapping[int, Outcome] = {
    EXIT_OK: "success",
    EXIT_SKIPPED: "skip",
    EXIT_INPUT: "fail",
    _EXIT_USAGE: "fail",
}
_LEVEL = re.compile(r"(DEBUG|INFO|WARNING|ERROR|CRITICAL) (.*)", re.DOTALL)


def build_command(
    job: str, scope: str, kind: str, run: Run, attempt: str, result: Path, options: Mapping[str, str]
) -> list[str]:
    """Return the argument list that starts one job; values are arguments of their own, never parsed by a shell."""
    arguments = {"--scope": scope, "--kind": kind, "--as-of": run.as_of.isoformat()}
    if run.first != run.as_of:
        arguments["--from"] = run.first.isoformat()
    arguments |= {"--variant": run.variant, "--attempt": attempt, "--result": str(result)}
    # joined by `=`, for a value that begins with dashes would be read as an option
    command = [sys.executable, "-m", f"jobs.{job}", *(f"{name}={value}" for name, value in arguments.items())]
    return [*command, *(f"--set={name}={value}" for name, value in options.items())]


def build_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the job's environment: the task's own, without Airflow's private variables, and unbuffered."""
    # among them the task's channel to its supervisor, which is no business of the job's
    kept = {name: value for name, value in environment.items() if not name.startswith(("_AIRFLOW", "__AIRFLOW"))}
    return {**kept, "PYTHONUNBUFFERED": "1"}


def connection_variables(name: str) -> tuple[str, str]:
    """Return the variables in which a job looks for a database's address: our own with a URL, then Airflow's.

    >>> connection_variables("crm")
    ('NIGHTLOOP_CONNECTION_CRM', 'AIRFLOW_CONN_CRM')
    """
    return f"NIGHTLOOP_CONNECTION_{name.upper()}", f"AIRFLOW_CONN_{name.upper()}"


def classify_exit(code: int) -> Outcome:
    """Return what an exit code means for the task: wrong input fails at once, everything unknown is worth a retry.

    >>> [classify_exit(code) for code in (0, 65, 75, 99, 137)]
    ['success', 'fail', 'retry', 'skip', 'retry']
    """
    return _OUTCOMES.get(code, "retry")


def describe_exit(job: str, code: int, last_lines: Sequence[str]) -> str:
    """Return one sentence on how a job ended, with its last words."""
    ending = f"was ended by signal {code - _SIGNAL_BASE}" if code > _SIGNAL_BASE else f"ended with exit code {code}"
    words = "\n".join(last_lines)
    return f"{job} {ending}; its last words:\n{words}" if words else f"{job} {ending} without a word"


def split_level(line: str) -> tuple[int, str]:
    """Return the log level and the message of one line that a job printed.

    >>> split_level("ERROR nightloop.job.frame: fenced")
    (40, 'nightloop.job.frame: fenced')
    >>> split_level("epoch 3")
    (20, 'epoch 3')
    """
    match = _LEVEL.fullmatch(line)
    if match is None:
        return logging.INFO, line
    return logging.getLevelNamesMapping()[match[1]], match[2]
