"""Rows, outcomes and entities that both windows hold are counted."""

from datetime import UTC, datetime

import numpy as np

from nightloop.leakage.gate import judge_overlap, list_faults
from nightloop.leakage.overlap import Window, measure_entity_overlap, measure_time_overlap
from nightloop.leakage.params import LeakageParams
from nightloop.verdict import Check

DAY = 86_400.0
OPENED = datetime(2025, 1, 11, tzinfo=UTC)


def make_window(decisions: dict[str, int], horizon_days: int = 3) -> Window:
    """Rows `entity@day`, decided on a day of 2025-01, whose label looks some days ahead."""
    decided = np.array([datetime(2025, 1, day, tzinfo=UTC).timestamp() for day in decisions.values()])
    entities = [key.partition("#")[0] for key in decisions]
    row_ids = [f"{entity}@{day}" for entity, day in zip(entities, decisions.values(), strict=True)]
    until = decided + horizon_days * DAY
    return Window(np.array(row_ids), np.array(entities), decided, until, until)


def judge(fit: Window, judged: Window) -> dict[str, Check]:
    params = LeakageParams()
    rows, entities = measure_time_overlap(fit, judged, OPENED), measure_entity_overlap(fit, judged)
    checks = judge_overlap(rows, entities, params)
    assert len(list_faults(checks, "training rows")) == sum(check.is_failed for check in checks)
    return {check.name.partition(":")[0]: check for check in checks}


def failed(checks: dict[str, Check]) -> dict[str, float | None]:
    return {name: check.figure for name, check in checks.items() if check.is_failed}


def test_windows_apart_pass() -> None:
    assert failed(judge(make_window({"a": 1, "b": 8}), make_window({"c": 9, "d": 10}))) == {}


def test_a_row_in_both_windows_is_refused() -> None:
    assert (
        failed(judge(make_window({"a": 1, "b": 8}), make_window({"b": 8, "c": 9, "d": 9})))[
            "rows trained on and judged"
        ]
        == 1
    )


def test_a_row_that_stands_twice_is_refused() -> None:
    assert failed(judge(make_window({"a": 1, "a#2": 1}), make_window({"b": 9}))) == {"rows that stand twice": 1}


def test_a_label_not_complete_when_judging_opens_is_refused() -> None:
    assert failed(judge(make_window({"a": 1, "b": 9}), make_window({"c": 9}))) == {"labels known after the cut": 1}


def test_an_entity_whose_outcome_was_trained_on_is_refused() -> None:
    fit, judged = make_window({"a": 7, "b": 1}), make_window({"a": 9, "b#2": 9, "c": 9, "d": 9})
    assert failed(judge(fit, judged)) == {"one outcome in both windows": 0.25}


def test_an_entity_seen_again_after_its_outcome_passes() -> None:
    assert failed(judge(make_window({"a": 1}), make_window({"a": 9}))) == {}
