"""`nightloop demo`, as a stranger runs it: the loop closes through the real scheduler."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nightloop.run import parse_instant
from nightloop.settings import Settings
from nightloop.stores.ledger.ledger import Ledger

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.timeout(2700)]


@pytest.fixture(scope="module")
def document(demo_home: Path) -> dict[str, Any]:
    return json.loads((demo_home / "demo.json").read_text())


@pytest.fixture(scope="module")
def ledger(demo_home: Path) -> Iterator[Ledger]:
    with closing(Ledger.open(Settings.from_environment({"NIGHTLOOP_HOME": str(demo_home)}).ledger_url)) as ledger:
        yield ledger


def test_concept_drift_wakes_a_retraining_whose_model_errs_less(document: dict[str, Any]) -> None:
    taxi = document["use_cases"]["taxi_duration"]
    assert taxi["quiet_answers"] == ["nothing", "nothing"]
    assert taxi["retraining_run_type"] == "asset_triggered"
    assert taxi["champion_after"]["version"] > taxi["champion_before"]["version"]
    assert taxi["champion_after"]["metric"] < 0.75 * taxi["champion_before"]["metric"]


def test_the_request_names_night_and_columns_and_the_model_is_as_of_it(
    document: dict[str, Any], ledger: Ledger
) -> None:
    night = parse_instant(document["use_cases"]["taxi_duration"]["verdict"])
    (request,) = [row for row in ledger.verdicts("taxi_duration") if row.answer == "retrain"]
    assert request.as_of == night
    assert request.columns
    assert ledger.open_requests("taxi_duration") == []
    champion = ledger.champion("taxi_duration", parse_instant(document["use_cases"]["taxi_duration"]["recovery"]))
    assert champion is not None
    assert champion.as_of == night


def test_a_new_kind_of_loan_is_answered_with_the_date_on_which_its_first_labels_mature(
    document: dict[str, Any],
) -> None:
    loan = document["use_cases"]["loan_default"]
    assert loan["verdict_answer"] == "wait"
    assert parse_instant(loan["wait_until"]) > parse_instant(loan["verdict"]).replace(
        year=parse_instant(loan["verdict"]).year + 1
    )
    assert loan["champion_before"]["version"] == loan["champion_after"]["version"]


def test_counts_add_up(document: dict[str, Any]) -> None:
    for use_case in document["use_cases"].values():
        assert 0 < use_case["quarantined"] < use_case["rows_in"]
        assert use_case["scored"] > 0


def test_no_secret_lies_outside_its_file(demo_home: Path) -> None:
    """Logs, databases, artifacts and reports of a whole story hold none; two files of the owner alone do."""
    secrets = json.loads((demo_home / "run" / "secrets.json").read_text())
    found = {
        (name, str(path.relative_to(demo_home)), oct(path.stat().st_mode & 0o777))
        for name, value in secrets.items()
        for path in _find_text(demo_home, value)
    }
    own = {(name, "run/secrets.json", "0o600") for name in secrets}
    assert found == own | {("airflow_password", "airflow/passwords.json", "0o600")}


def _find_text(top: Path, text: str) -> list[Path]:
    """Return the files that hold a text; not in this process, whose locks on databases would be dropped."""
    found = subprocess.run(["grep", "-rlFa", "-e", text, top], capture_output=True, text=True, check=True)
    return [Path(line) for line in found.stdout.splitlines()]
