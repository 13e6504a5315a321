"""How a job's ending becomes a task's state, with real processes of a small stand-in for `jobs`."""

import re
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.sdk import Connection as AirflowConnection
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
    AirflowTaskTimeout,
)

from nightloop.stores.landing.connections import find_connection
from nightloop_airflow import job_operator
from nightloop_airflow.job_operator import JobOperator

NIGHT = datetime(2025, 1, 5, 2, tzinfo=UTC)
SCHEDULE = "0 2 * * *"
JOB = """
import argparse, sys
from pathlib import Path
from nightloop.run import JobResult, RunKey, parse_instant
parser = argparse.ArgumentParser()
for name in ("scope", "kind", "as-of", "from", "variant", "attempt", "result"):
    parser.add_argument(f"--{name}")
parser.add_argument("--set", action="append", default=[])
given = vars(parser.parse_args())
print("WARNING job: row 3 is odd")
facts = {"from": str(given["from"]), "options": ";".join(given["set"]), "skipped": "no file arrived"}
key = RunKey(given["scope"], parse_instant(given["as_of"]), given["variant"])
RESULT
ENDING
"""
WRITE = 'JobResult("job", key, facts=facts, links={"mlflow": "http://127.0.0.1/run"}).write(Path(given["result"]))'


class FakeInstance(SimpleNamespace):
    """What the operator asks of a task instance."""

    dag_id, run_id, task_id, map_index, try_number = "dag", "run", "build_features", -1, 1

    def __init__(self) -> None:
        super().__init__(pushed={})

    def xcom_push(self, key: str, value: object) -> None:
        self.pushed[key] = value


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "jobs").mkdir()
    monkeypatch.setattr(job_operator, "CHECKOUT", tmp_path)
    return tmp_path


def write_job(checkout: Path, ending: str, result: str = WRITE) -> None:
    code = JOB.replace("RESULT", result).replace("ENDING", ending)
    (checkout / "jobs" / "build_features.py").write_text(code)


def make_context(**changes: Any) -> dict[str, Any]:
    outlet_events = {Asset("source/taxi"): SimpleNamespace(extra={})}
    return {"ti": FakeInstance(), "logical_date": NIGHT, "params": {}, "outlet_events": outlet_events, **changes}


def run(context: dict[str, Any], **changes: Any) -> dict[str, Any]:
    arguments = {"scope": "taxi", "kind": "use_case", "schedule": SCHEDULE, **changes}
    operator = JobOperator(task_id="build_features", **arguments)
    return JobOperator.execute.__wrapped__(operator, context)  # type: ignore[attr-defined,no-any-return]


def test_result_becomes_the_xcom_and_lines_become_the_log(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_job(checkout, "sys.exit(0)")

    result = run(make_context(), options={"refill": "missing"})

    assert result["run_key"] == {"scope": "taxi", "as_of": "2025-01-05T02:00:00+00:00", "variant": "main"}
    assert result["facts"]["options"] == "refill=missing"
    assert re.search(r"warning .*job: row 3 is odd", capsys.readouterr().out)


def test_outlet_events_name_the_night(checkout: Path) -> None:
    write_job(checkout, "sys.exit(0)")
    context = make_context()
    asset = Asset("source/taxi")

    run(context, outlets=[asset])

    assert context["outlet_events"][asset].extra["as_of"] == "2025-01-05T02:00:00+00:00"


@pytest.mark.parametrize(
    ("ending", "error"),
    [
        pytest.param("sys.exit(65)", AirflowFailException, id="wrong input is not tried again"),
        pytest.param("sys.exit(75)", AirflowException, id="transient"),
        pytest.param("sys.exit(76)", AirflowException, id="fenced"),
        pytest.param("sys.exit(70)", AirflowException, id="internal"),
        pytest.param("import os; os.kill(os.getpid(), 9)", AirflowException, id="killed"),
    ],
)
def test_failures_tell_the_last_words(ending: str, error: type[Exception], checkout: Path) -> None:
    write_job(checkout, ending)

    with pytest.raises(AirflowException, match="row 3 is odd") as caught:
        run(make_context())

    assert type(caught.value) is error


def test_a_skipped_job_skips_its_task_and_leaves_its_result(checkout: Path) -> None:
    write_job(checkout, "sys.exit(99)")
    context = make_context()

    with pytest.raises(AirflowSkipException, match="no file arrived"):
        run(context)

    assert context["ti"].pushed["return_value"]["job"] == "job"


def test_success_without_a_result_is_a_fault_of_the_job(checkout: Path) -> None:
    write_job(checkout, "sys.exit(0)", result="")

    with pytest.raises(AirflowFailException, match="left no result"):
        run(make_context())


def test_requests_of_an_event_reach_the_job_that_wants_them(checkout: Path) -> None:
    write_job(checkout, "sys.exit(0)")
    event = SimpleNamespace(extra={"as_of": NIGHT.isoformat(), "requests": [NIGHT.isoformat()]})
    context = make_context(logical_date=None, triggering_asset_events={"asset": [event]})

    assert run(context, passes_requests=True)["facts"]["options"] == 'requests=["2025-01-05T02:00:00+00:00"]'


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        pytest.param({}, "2025-01-03T02:00:00+00:00", id="the range as given"),
        pytest.param({"reach_days": 1}, "2025-01-02T02:00:00+00:00", id="and a day before"),
        pytest.param({"reach_days": "unbounded"}, "2025-01-01T00:00:00+00:00", id="from the start"),
        pytest.param({"is_last_night_only": True}, "None", id="the last night alone"),
    ],
)
def test_nights_of_a_range(arguments: dict[str, Any], first: str, checkout: Path) -> None:
    write_job(checkout, "sys.exit(0)")
    context = make_context(logical_date=None, params={"first": "2025-01-03", "last": "2025-01-05"})

    assert run(context, start=date(2025, 1, 1), **arguments)["facts"]["from"] == first


def test_a_connection_of_airflow_reaches_the_job_in_its_environment_alone(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = {"crm": AirflowConnection(conn_id="crm", conn_type="postgres", login="reader", password="hush-hush")}
    monkeypatch.setattr(AirflowConnection, "get", lambda name: stored[name])
    told = 'facts["options"] = __import__("os").environ.get("AIRFLOW_CONN_CRM", "")\n'
    write_job(checkout, "sys.exit(0)", told + WRITE)

    result = run(make_context(), connection="crm")

    assert find_connection("crm", {"AIRFLOW_CONN_CRM": result["facts"]["options"]}).password == "hush-hush"
    assert "hush-hush" not in capsys.readouterr().out


def test_an_unknown_connection_is_left_to_the_job(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise AirflowNotFoundException(name)

    monkeypatch.setattr(AirflowConnection, "get", refuse)
    write_job(checkout, "sys.exit(0)")

    assert run(make_context(), connection="crm")["facts"]["from"] == "None"


def test_a_run_without_a_night_fails_before_anything_starts(checkout: Path) -> None:
    with pytest.raises(AirflowFailException, match="trigger the DAG"):
        run(make_context(logical_date=None))

    assert list((checkout / "jobs").iterdir()) == []


def test_a_timeout_ends_the_job(checkout: Path, tmp_path: Path) -> None:
    from airflow.sdk.execution_time.timeout import timeout

    pid_file = tmp_path / "pid"
    write_job(checkout, f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(600)")

    with pytest.raises(AirflowTaskTimeout), timeout(2):
        run(make_context(), grace_seconds=0.5)

    assert not Path(f"/proc/{pid_file.read_text()}").exists()
