"""Command lines, environments and exit codes of jobs."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightloop_airflow.command import build_command, build_environment, classify_exit, describe_exit, split_level
from nightloop_airflow.run_key import Run

AS_OF = datetime(2025, 1, 5, 2, tzinfo=UTC)
FIRST = datetime(2025, 1, 1, 2, tzinfo=UTC)


def test_command_of_one_night() -> None:
    command = build_command("score_batch", "taxi", "use_case", Run(AS_OF, AS_OF), "d/r/t/-1/1", Path("/tmp/result"), {})

    assert command == [
        sys.executable,
        "-m",
        "jobs.score_batch",
        "--scope=taxi",
        "--kind=use_case",
        "--as-of=2025-01-05T02:00:00+00:00",
        "--variant=main",
        "--attempt=d/r/t/-1/1",
        "--result=/tmp/result",
    ]


def test_command_of_a_range_with_options() -> None:
    run = Run(AS_OF, FIRST, "restated")

    command = build_command("j", "taxi", "use_case", run, "a", Path("r"), {"why": "-- a reason = $(reboot)"})

    assert "--from=2025-01-01T02:00:00+00:00" in command
    assert "--variant=restated" in command
    assert command[-1] == "--set=why=-- a reason = $(reboot)"


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        pytest.param(0, "success", id="ok"),
        pytest.param(65, "fail", id="wrong input"),
        pytest.param(2, "fail", id="wrong command line"),
        pytest.param(70, "retry", id="internal"),
        pytest.param(75, "retry", id="transient"),
        pytest.param(76, "retry", id="fenced"),
        pytest.param(99, "skip", id="skipped"),
        pytest.param(1, "retry", id="unknown"),
        pytest.param(137, "retry", id="killed"),
    ],
)
def test_exit_codes(code: int, outcome: str) -> None:
    assert classify_exit(code) == outcome


def test_ending_by_a_signal_names_it() -> None:
    assert describe_exit("score_batch", 137, ["one", "two"]).startswith("score_batch was ended by signal 9")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("WARNING nightloop: careful", (30, "nightloop: careful"), id="level"),
        pytest.param("INFORMATION", (20, "INFORMATION"), id="a word that begins like a level"),
        pytest.param("  plain", (20, "  plain"), id="plain"),
    ],
)
def test_levels(line: str, expected: tuple[int, str]) -> None:
    assert split_level(line) == expected


def test_environment_leaves_private_airflow_variables_behind() -> None:
    given = {
        "__AIRFLOW_SUPERVISOR_FD": "3",
        "_AIRFLOW_PARSING_CONTEXT_DAG_ID": "x",
        "AIRFLOW_CTX_TRY": "x",
        "A": "b",
    }

    assert build_environment(given) == {"AIRFLOW_CTX_TRY": "x", "A": "b", "PYTHONUNBUFFERED": "1"}
