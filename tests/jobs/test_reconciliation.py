"""Two hundred random histories at once: every row is accounted for, and doing anything again changes nothing."""

from collections.abc import Iterable
from typing import Any

import pytest

from nightloop.run import EXIT_INPUT
from tests.jobs.histories import History, Limits, Row, draw_history
from tests.jobs.orders import NOT_NEGATIVE, Orders, between
from tests.killable import KillableServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("default"),  # the jobs run in this process, and their libraries warn when imported
    pytest.mark.filterwarnings("error:::(nightloop|jobs)"),
]

HISTORIES = 200
NIGHTS = 4
LIMITS = (Limits(0, 100), Limits(0, 100), Limits(-10, 100), Limits(-100, 200))  # the folder is mended twice
OUTCOMES = ("good", "quarantined", "duplicate", "superseded")


def suite_of(limits: Limits) -> list[dict[str, Any]]:
    return [between("amount", min_value=limits.least), between("doubled", max_value=limits.most)]


def land(orders: Orders, histories: Iterable[History], number: int) -> None:
    for history in histories:
        for file in history.files:
            if file.landed_for == number:
                orders.land(file.path, file.text, file.arrived)


@pytest.fixture(scope="module")
def told(server: KillableServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Orders, list[History]]:
    """The histories after four nights and two fixes: once by the jobs, once by the oracle."""
    orders = Orders.create(tmp_path_factory.mktemp("histories"), server.remote)
    histories = [draw_history(seed, NIGHTS) for seed in range(HISTORIES)]
    loaded: dict[str, set[str]] = {history.name: set() for history in histories}
    for number, limits in enumerate(LIMITS):
        orders.write_folder(suite_of(limits))
        if number >= 2:
            rule = NOT_NEGATIVE if number == 2 else None
            orders.readmit(number - 1, **({"rule": rule} if rule else {}))
        land(orders, histories, number)
        orders.night(number)
        for history in histories:
            if number >= 2:
                history.readmit(number, limits, rule)
            history.close(number, limits, loaded[history.name])
    return orders, histories


def _key(row: Row, *more: object) -> tuple[object, ...]:
    return (row.file, row.number, *more)


@pytest.mark.parametrize("number", range(NIGHTS))
def test_counts_of_a_night_are_those_of_the_oracle_and_add_up(told: tuple[Orders, list[History]], number: int) -> None:
    orders, histories = told
    counts = orders.counts(number)
    assert counts["received"] + counts["readmitted"] == sum(counts[outcome] for outcome in OUTCOMES)
    assert counts == {
        "received": sum(len(history.received[number]) for history in histories),
        "readmitted": sum(len(history.readmitted[number]) for history in histories),
        **{outcome: sum(history.count(number, outcome) for history in histories) for outcome in OUTCOMES},
    }
    assert all(counts[outcome] for outcome in OUTCOMES)  # the histories are not trivial
    assert bool(counts["readmitted"]) is (number >= 2)


@pytest.mark.parametrize("number", range(NIGHTS))
def test_every_row_of_every_history_is_where_the_oracle_says(told: tuple[Orders, list[History]], number: int) -> None:
    orders, histories = told
    clean, aside = orders.rows("clean", number), orders.rows("quarantine", number)
    for history in histories:
        good = {
            _key(row, row.id, row.amount, row.known_at) for row, found in history.outcomes[number] if found == "good"
        }
        assert {
            (row["_file"], row["_row"], row["id"], f"{row['amount']:g}", row["known_at"])
            for row in clean
            if row["_file"].startswith(history.name)
        } == good, history.name
        assert {
            (row["_file"], row["_row"], frozenset(row["rules"]))
            for row in aside
            if row["_file"].startswith(history.name)
        } == {_key(row, frozenset(rules)) for row, rules in history.quarantine[number].items()}, history.name


def test_nothing_changes_however_often_anything_is_done_again(told: tuple[Orders, list[History]]) -> None:
    orders, _ = told
    before, counts = orders.tables(), [orders.counts(number) for number in range(NIGHTS)]
    for number, first in ((1, None), (3, None), (0, None), (3, 0)):
        orders.night(number, first)
        after = orders.tables()
        assert {layer: len(rows) for layer, rows in after.items()} == {
            layer: len(rows) for layer, rows in before.items()
        }
        assert after == before, (number, first)
    assert [orders.counts(number) for number in range(NIGHTS)] == counts
    assert orders.exit_code("readmit_rows", 0) == EXIT_INPUT  # what is left in quarantine still breaks its rules
    assert orders.tables() == before
