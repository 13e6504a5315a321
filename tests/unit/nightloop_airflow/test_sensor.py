"""Waiting for nights to close, without Airflow's machinery around it."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, TaskDeferred

from nightloop_airflow import sensor, trigger
from nightloop_airflow.sensor import EarlierNightsSensor, SourcesClosedSensor, nights_of
from nightloop_airflow.trigger import NightsClosedTrigger

AS_OF = datetime(2025, 1, 5, 2, tzinfo=UTC)
SOURCES: Any = {
    "bookings": SimpleNamespace(schedule="0 1 * * *", start=date(2025, 1, 1)),
    "weather": SimpleNamespace(schedule="0 * * * *", start=date(2025, 1, 1)),
    "future": SimpleNamespace(schedule="0 1 * * *", start=date(2026, 1, 1)),
}
NIGHTS = {"bookings": "2025-01-05T01:00:00+00:00", "weather": "2025-01-05T02:00:00+00:00"}
FAR = (datetime.now(UTC) + timedelta(days=1)).isoformat()


def make_sensor() -> SourcesClosedSensor:
    return SourcesClosedSensor(task_id="wait", schedule="0 2 * * *", sources=SOURCES, timeout=timedelta(hours=1))


def execute(operator: SourcesClosedSensor) -> None:
    SourcesClosedSensor.execute.__wrapped__(operator, {"params": {}, "logical_date": AS_OF})  # type: ignore[attr-defined]


def test_each_source_is_awaited_at_its_own_last_night() -> None:
    assert nights_of(SOURCES, AS_OF) == NIGHTS


def test_closed_nights_are_not_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensor, "find_open_nights", lambda _: {})

    execute(make_sensor())


def test_open_nights_are_awaited_in_the_triggerer_until_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensor, "find_open_nights", lambda _: {"weather": NIGHTS["weather"]})

    with pytest.raises(TaskDeferred) as deferred:
        execute(make_sensor())

    assert isinstance(deferred.value.trigger, NightsClosedTrigger)
    assert deferred.value.trigger.nights == {"weather": NIGHTS["weather"]}
    assert deferred.value.timeout > timedelta(hours=1)


def test_a_passed_deadline_names_the_source_that_did_not_close() -> None:
    with pytest.raises(AirflowSensorTimeout, match=r"source_weather \(2025-01-05T02:00:00"):
        make_sensor().complete({}, {"weather": NIGHTS["weather"]})  # type: ignore[typeddict-item]


def test_trigger_survives_its_serialization() -> None:
    path, arguments = NightsClosedTrigger(NIGHTS, FAR, 0.01).serialize()

    assert path == "nightloop_airflow.trigger.NightsClosedTrigger"
    assert NightsClosedTrigger(**arguments).serialize() == (path, arguments)


@pytest.mark.parametrize(
    ("answers", "deadline", "expected"),
    [
        pytest.param([NIGHTS, {"weather": "n"}, {}], FAR, {}, id="fires when the last one has closed"),
        pytest.param([NIGHTS], "2025-01-01T00:00:00+00:00", NIGHTS, id="fires at the deadline with the open ones"),
    ],
)
def test_trigger_fires(
    answers: list[dict[str, str]], deadline: str, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    coming = iter(answers)
    monkeypatch.setattr(trigger, "find_open_nights", lambda _: next(coming))

    async def first_event() -> Any:
        return await anext(NightsClosedTrigger(NIGHTS, deadline, 0.01).run())

    assert asyncio.run(first_event()).payload == expected


def run_of(day: int, run_type: str, state: str) -> Any:
    night = datetime(2025, 1, day, 2, tzinfo=UTC)
    return SimpleNamespace(run_id=f"{run_type}__{night:%F}", run_type=run_type, state=state, logical_date=night)


@pytest.mark.parametrize(
    ("before", "run_type", "passes"),
    [
        pytest.param([], "backfill", True, id="the first night"),
        pytest.param([run_of(4, "backfill", "success")], "backfill", True, id="the night before succeeded"),
        pytest.param([run_of(4, "backfill", "running")], "backfill", False, id="the night before runs"),
        pytest.param(
            [run_of(4, "backfill", "success"), run_of(3, "backfill", "running")],
            "backfill",
            False,
            id="the night before succeeded, an earlier one runs again",
        ),
        pytest.param([run_of(3, "backfill", "failed")], "backfill", True, id="another backfill's night failed"),
        pytest.param([run_of(4, "scheduled", "failed")], "backfill", True, id="a scheduled night failed"),
        pytest.param([run_of(4, "scheduled", "failed")], "scheduled", True, id="on the schedule, a night failed"),
        pytest.param([run_of(4, "backfill", "failed")], "scheduled", True, id="a backfill before the schedule failed"),
        pytest.param([run_of(4, "backfill", "running")], "manual", False, id="by hand, while a backfill runs"),
    ],
)
def test_a_night_is_decided_after_those_before_it(before: list[Any], run_type: str, *, passes: bool) -> None:
    assert poke_earlier_nights(before, run_type) is passes


@pytest.mark.parametrize("state", ["failed", "queued"])
def test_a_night_of_a_backfill_is_not_decided_without_the_one_before(state: str) -> None:
    with pytest.raises(AirflowFailException, match=rf"backfill__2025-01-04\) is {state}.*clear both"):
        poke_earlier_nights([run_of(4, "backfill", state)], "backfill")


def poke_earlier_nights(before: list[Any], run_type: str) -> bool:
    def find(state: str | None = None) -> Any:
        return next((run for run in before if state in (None, run.state)), None)

    context: Any = {"ti": SimpleNamespace(get_previous_dagrun=find), "dag_run": run_of(5, run_type, "running")}
    return EarlierNightsSensor(task_id="wait", schedule="0 2 * * *").poke(context)
