"""Which night a run stands for, whatever Airflow knows about it."""

from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from nightloop.fault import NightloopError
from nightloop_airflow.run_key import Run, describe_requests, reach_back, resolve_run, run_of_context

DAILY = "0 2 * * *"
MONTHLY = "0 2 1 * *"


def night(day: int, month: int = 1, hour: int = 2) -> datetime:
    return datetime(2025, month, day, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("params", "events", "logical_date", "expected"),
    [
        pytest.param({}, [], night(5), Run(night(5), night(5)), id="a scheduled run is the night of its tick"),
        pytest.param({}, [], night(5, hour=14), Run(night(5), night(5)), id="a manual run is the last night begun"),
        pytest.param({}, [], night(5, hour=1), Run(night(4), night(4)), id="before tonight's tick it is yesterday's"),
        pytest.param(
            {"as_of": "2025-01-05T02:00:00Z", "variant": "restated"},
            [],
            night(9),
            Run(night(5), night(5), "restated"),
            id="params go before the logical date",
        ),
        pytest.param(
            {"as_of": "2025-01-05T02:00:00"},
            [{"as_of": night(7).isoformat(), "requests": [night(7).isoformat()]}],
            None,
            Run(night(5), night(5)),
            id="params go before events",
        ),
        pytest.param(
            {"as_of": None},
            [{"as_of": night(5).isoformat(), "requests": [night(5).isoformat()]}],
            None,
            Run(night(5), night(5), requests=(night(5),)),
            id="an asset-triggered run is the night of its event",
        ),
        pytest.param(
            {},
            [
                {"as_of": night(7).isoformat(), "requests": [night(5).isoformat(), night(7).isoformat()]},
                {"as_of": night(5).isoformat(), "requests": [night(5).isoformat()]},
            ],
            None,
            Run(night(7), night(7), requests=(night(5), night(7))),
            id="coalesced events are one run that answers all requests",
        ),
        pytest.param(
            {},
            [{"requests": [night(5).isoformat()]}],
            None,
            Run(night(5), night(5), requests=(night(5),)),
            id="an event without as_of is the night of its youngest request",
        ),
        pytest.param(
            {"first": "2025-01-01", "last": "2025-01-30"},
            [],
            night(28, 2),
            Run(night(30), night(1)),
            id="days are a range, both included",
        ),
        pytest.param(
            {"last": "2025-01-30"}, [], None, Run(night(30), night(30)), id="a range without a first day is one day"
        ),
    ],
)
def test_run_of_a_daily_schedule(
    params: dict[str, Any], events: list[dict[str, Any]], logical_date: datetime | None, expected: Run
) -> None:
    assert resolve_run(DAILY, params, events, logical_date) == expected


def test_range_of_a_monthly_schedule_ends_with_its_last_tick() -> None:
    run = resolve_run(MONTHLY, {"first": "2010-01-01", "last": "2010-12-31"})

    assert (run.first, run.as_of) == (datetime(2010, 1, 1, 2, tzinfo=UTC), datetime(2010, 12, 1, 2, tzinfo=UTC))


@pytest.mark.parametrize(
    ("params", "events", "message"),
    [
        pytest.param({}, [], "a param as_of, an asset event or a logical date", id="nothing names a night"),
        pytest.param({}, [{}], "an event that names no night", id="an event made by hand"),
        pytest.param({}, [{"requests": "2025-01-05"}], "a list of instants", id="requests that are no list"),
        pytest.param({}, [{"as_of": "{{ ds }}"}], "an ISO 8601 date", id="a template in an event is text"),
        pytest.param({"as_of": "2025-01-05"}, [], "such as 2025-01-04T02:00:00+00:00", id="between two nights"),
        pytest.param({"as_of": "; rm -rf /"}, [], "an ISO 8601 date", id="a shell word is no night"),
        pytest.param({"variant": "../x"}, [], "param variant", id="a path is no variant"),
        pytest.param({"variant": 3}, [], "param variant", id="a number is no variant"),
        pytest.param({"first": "2025-02-01", "last": "2025-01-01"}, [], "at least one tick", id="an empty range"),
    ],
)
def test_refusal_says_what_to_do(params: dict[str, Any], events: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(NightloopError) as caught:
        resolve_run(DAILY, params, events)

    assert message in str(caught.value)
    assert "trigger the DAG" in str(caught.value)


def test_platform_runs_have_no_schedule() -> None:
    assert resolve_run(None, {}, [], night(5, hour=13)).as_of == night(5, hour=13)


def test_events_of_all_assets_count() -> None:
    events = [SimpleNamespace(extra=describe_requests([night(day)])) for day in (5, 7)]
    context = {"params": {}, "triggering_asset_events": {"one": events[:1], "two": events[1:]}, "logical_date": None}

    assert run_of_context(context, DAILY).requests == (night(5), night(7))


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        pytest.param(0, night(20), id="no reach"),
        pytest.param(7, night(13), id="a week"),
        pytest.param(60, datetime(2025, 1, 10, tzinfo=UTC), id="not before the start"),
        pytest.param("unbounded", datetime(2025, 1, 10, tzinfo=UTC), id="the whole history"),
    ],
)
def test_reach_back(days: int | str, expected: datetime) -> None:
    run = Run(night(25), night(20), requests=(night(5),))

    assert reach_back(run, days, date(2025, 1, 10)) == Run(night(25), expected, requests=(night(5),))


def test_reach_back_to_a_start_after_the_night_is_the_night_alone() -> None:
    assert reach_back(Run(night(5), night(5)), "unbounded", date(2025, 3, 1)).first == night(5)
