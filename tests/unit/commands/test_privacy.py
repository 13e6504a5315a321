"""`nightloop keys` and `nightloop search-traces`, as an operator runs them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from nightloop.commands.cli import app
from nightloop.privacy.keyed import hash_text, key_id
from nightloop.stores.keys import load_key_ring
from nightloop.stores.ledger import ledger

RUNNER = CliRunner()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "NIGHTLOOP_LANDING",
        "NIGHTLOOP_LAKE",
        "NIGHTLOOP_LEDGER_URL",
        "NIGHTLOOP_PII_KEY",
        "NIGHTLOOP_FOLDERS",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NIGHTLOOP_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    ledger.migrate(f"sqlite:///{tmp_path}/home/ledger.db")
    return tmp_path / "home"


def test_rotation_keeps_and_names_both_keys(home: Path) -> None:
    first = key_id(load_key_ring(home, {}).current)
    said = RUNNER.invoke(app, ["keys", "rotate"])
    second = key_id(load_key_ring(home, {}).current)
    assert said.exit_code == 0, said.output
    assert f"{second}  current" in said.output
    assert f"{first}  retired" in said.output
    assert "loan_applications.national_id = bureau_records.national_id  survives" in said.output


def test_traces_are_found_plain_and_hashed_until_they_are_gone(home: Path, tmp_path: Path) -> None:
    request = tmp_path / "people.txt"
    request.touch(mode=0o600)
    request.write_text("NID-4711\n")
    old = load_key_ring(home, {}).current
    RUNNER.invoke(app, ["keys", "rotate"])
    (home / "a.txt").write_text("NID-4711")
    (home / "b.json").write_text(f'{{"id": "{hash_text("NID-4711", old)}"}}')
    said = RUNNER.invoke(app, ["search-traces", str(request)])
    assert (said.exit_code, "2 files hold a trace" in said.output) == (1, True)
    (home / "a.txt").unlink()
    (home / "b.json").unlink()
    said = RUNNER.invoke(app, ["search-traces", str(request)])
    assert (said.exit_code, said.output.strip()) == (0, "no trace")


def test_a_file_that_others_may_read_is_refused(home: Path, tmp_path: Path) -> None:
    request = tmp_path / "people.txt"
    request.write_text("NID-4711\n")
    request.chmod(0o644)
    said = RUNNER.invoke(app, ["search-traces", str(request)])
    assert (said.exit_code, "chmod 600" in said.output) == (65, True)
