"""Waiting for a night's files, in a real landing zone beside a real ledger."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, TaskDeferred

from nightloop.run import Replay
from nightloop.settings import CHECKOUT
from nightloop.stores.ledger import ledger
from nightloop_airflow.sensor import FilesArrivedSensor
from nightloop_airflow.trigger import FilesArrivedTrigger

NIGHT = datetime(2025, 1, 5, 1, tzinfo=UTC)
FAR = (datetime.now(UTC) + timedelta(days=1)).isoformat()
PAST = "2025-01-01T00:00:00+00:00"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation with the source `bookings`, a ledger, and an empty landing zone."""
    monkeypatch.setenv("NIGHTLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("NIGHTLOOP_LANDING", str(tmp_path / "landing"))
    monkeypatch.setenv("NIGHTLOOP_FOLDERS", str(CHECKOUT / "tests/dags/folders"))
    monkeypatch.delenv("NIGHTLOOP_LEDGER_URL", raising=False)
    ledger.migrate(f"sqlite:///{tmp_path}/ledger.db")
    return tmp_path


def land(home: Path, name: str, arrived_at: datetime) -> None:
    path = home / "landing" / "bookings" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("id\n1\n")
    os.utime(path, (arrived_at.timestamp(), arrived_at.timestamp()))


def execute(**changes: Any) -> None:
    operator = FilesArrivedSensor(
        task_id="wait", source="bookings", schedule="0 1 * * *", files=2, timeout=timedelta(hours=1)
    )
    context = {"params": changes, "logical_date": NIGHT}
    FilesArrivedSensor.execute.__wrapped__(operator, context)  # type: ignore[attr-defined]


def first_event(trigger: FilesArrivedTrigger) -> Any:
    async def run() -> Any:
        return await anext(trigger.run())

    return asyncio.run(run()).payload


def test_files_of_the_night_are_enough(home: Path) -> None:
    land(home, "a.csv", NIGHT - timedelta(hours=1))
    land(home, "b.csv", NIGHT)
    execute()


def test_missing_files_are_awaited_in_the_triggerer(home: Path) -> None:
    land(home, "a.csv", NIGHT)
    land(home, "b.csv", NIGHT + timedelta(seconds=1))
    land(home, ".c.csv.partial", NIGHT)
    with pytest.raises(TaskDeferred) as deferred:
        execute()
    trigger = deferred.value.trigger
    assert isinstance(trigger, FilesArrivedTrigger)
    assert (trigger.source, trigger.night, trigger.files) == ("bookings", NIGHT.isoformat(), 2)


@pytest.mark.parametrize("changes", [{"variant": "restated"}, {"first": "2025-01-03", "last": "2025-01-05"}])
def test_variants_and_ranges_wait_for_nothing(changes: dict[str, str], home: Path) -> None:
    execute(**changes)


def test_a_closed_night_waits_for_nothing(home: Path) -> None:
    opened = ledger.Ledger.open(f"sqlite:///{home}/ledger.db")
    replay = Replay("bookings", (NIGHT,))
    opened.close_run(replay, opened.draw_token(replay, "clean_source"))
    opened.close()
    execute()


def test_a_missing_folder_fails_at_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTLOOP_FOLDERS", str(home))
    with pytest.raises(AirflowFailException, match="sources/bookings"):
        execute()


def test_trigger_fires_when_the_last_file_is_whole(home: Path) -> None:
    trigger = FilesArrivedTrigger("bookings", NIGHT.isoformat(), 2, FAR, 0.05)
    land(home, "a.csv", NIGHT)

    async def run() -> Any:
        waiting = asyncio.create_task(anext(trigger.run()))  # type: ignore[arg-type]
        await asyncio.sleep(0.3)
        assert not waiting.done()
        land(home, "b.csv", NIGHT)
        return await asyncio.wait_for(waiting, 10)

    assert asyncio.run(run()).payload == 2


def test_trigger_gives_up_at_the_deadline_with_what_there_is(home: Path) -> None:
    land(home, "a.csv", NIGHT)
    assert first_event(FilesArrivedTrigger("bookings", NIGHT.isoformat(), 2, PAST)) == 1


def test_trigger_survives_its_serialization() -> None:
    path, arguments = FilesArrivedTrigger("bookings", NIGHT.isoformat(), 2, FAR, 0.5).serialize()
    assert path == "nightloop_airflow.trigger.FilesArrivedTrigger"
    assert FilesArrivedTrigger(**arguments).serialize() == (path, arguments)


def test_a_passed_deadline_says_how_many_files_came_and_what_to_do() -> None:
    operator = FilesArrivedSensor(task_id="wait", source="bookings", schedule="0 1 * * *", files=2, timeout=60)
    with pytest.raises(AirflowSensorTimeout, match=r"1 of 2 files of source bookings.*mark it as success"):
        operator.complete({}, 1)  # type: ignore[typeddict-item]
    operator.complete({}, 2)  # type: ignore[typeddict-item]
