"""`rollback_champion`: the earlier model holds for the nights after the run's, once however often it runs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.rollback_champion import main
from nightloop.run import EXIT_INPUT, EXIT_OK
from nightloop.stores.ledger import ledger
from nightloop.stores.ledger.ledger import Ledger
from nightloop.stores.ledger.rows import ModelRow
from nightloop.stores.registry.registry import Registry

FIRST = datetime(2025, 1, 1, 2, tzinfo=UTC)


def night(number: int) -> datetime:
    return FIRST + timedelta(days=number)


@pytest.fixture
def aliases(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The digests that the MLflow alias was moved to."""
    moved: list[str] = []
    monkeypatch.setattr(Registry, "set_champion_alias", lambda *arguments: moved.append(arguments[-1]))
    return moved


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A ledger in which version 1, 2 and 3 became champion in the nights 1, 2 and 3."""
    monkeypatch.setenv("NIGHTLOOP_HOME", str(tmp_path))
    monkeypatch.delenv("NIGHTLOOP_LEDGER_URL", raising=False)
    ledger.migrate(f"sqlite:///{tmp_path}/ledger.db")
    opened = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    for number in (1, 2, 3):
        opened.register_model(ModelRow("taxi", 0, f"d{number}", "file:///m", {}, "abc", night(number)))
        opened.change_champion("taxi", number, night(number), "gate", "better")
    yield opened
    opened.close()


def roll_back(number: int, *options: str) -> int:
    settings = [word for option in options for word in ("--set", option)]
    return main(["--scope", "taxi", "--kind", "platform", "--as-of", night(number).isoformat(), *settings])


def champion(records: Ledger, number: int) -> int | None:
    found = records.champion("taxi", night(number))
    return found and found.version


def test_champion_before_the_present_one_is_the_default(records: Ledger, aliases: list[str]) -> None:
    assert [roll_back(5, "actor=ann", "why=too high"), roll_back(5, "actor=ann", "why=too high")] == [EXIT_OK, EXIT_OK]
    assert [champion(records, number) for number in (4, 5, 6)] == [3, 3, 2]
    assert [(row.actor, row.why, row.from_, row.to) for row in records.audit("taxi")] == [
        ("rollback_champion by ann", "too high", "3", "2")
    ]
    assert aliases == ["d2", "d2"]


def test_second_rollback_goes_further_back(records: Ledger, aliases: list[str]) -> None:
    assert [roll_back(5), roll_back(6)] == [EXIT_OK, EXIT_OK]
    assert champion(records, 7) == 1


def test_version_may_be_named(records: Ledger, aliases: list[str]) -> None:
    assert roll_back(5, "to_version=1") == EXIT_OK
    assert champion(records, 6) == 1


@pytest.mark.parametrize(
    ("number", "option", "message"),
    [
        pytest.param(5, "to_version=9", "expected one of [1, 2, 3], found 9", id="unknown-version"),
        pytest.param(1, "to_version=", "expected an earlier champion, found [1]", id="nothing-before"),
        pytest.param(5, "to_version=two", "expected a whole number, found two", id="no-number"),
    ],
)
def test_impossible_rollback_changes_nothing(
    records: Ledger,
    aliases: list[str],
    capsys: pytest.CaptureFixture[str],
    number: int,
    option: str,
    message: str,
) -> None:
    assert roll_back(number, option) == EXIT_INPUT
    assert message in capsys.readouterr().out
    assert len(records.champion_history("taxi")) == 3
    assert aliases == []
