"""Quarantined rows come back as of the night of the fix, once, and the closed nights stay as they are."""

import pytest

from nightloop.run import EXIT_INPUT, format_night
from tests.jobs.orders import HOUR, MENDED, NAME, NOT_NEGATIVE, Orders, csv, night
from tests.killable import KillableServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # the jobs run in this process, and their libraries warn when imported
    pytest.mark.filterwarnings("error:::(nightloop|jobs)"),
]


@pytest.fixture(scope="module")
def orders(server: KillableServer, tmp_path_factory: pytest.TempPathFactory) -> Orders:
    """Two closed nights that set rows aside by a wrong rule; the first night holds the story's cases.

    `stays` still breaks a rule when `NOT_NEGATIVE` is mended; `moved` has got a newer version since; `again` got a
    version before; `broken` cannot be parsed.
    """
    told = Orders.create(tmp_path_factory.mktemp("orders"), server.remote)
    told.land("0.csv", csv("plain,1,a", "again,1,first"), night(0) - HOUR)
    told.night(0)
    rows = ("back,-1,a", "moved,-2,old", "again,-3,second", "stays,-99,b", "broken", "same,-4,x", "same,-4,x")
    told.land("1.csv", csv(*rows), night(1) - HOUR)
    told.night(1)
    told.land("2.csv", csv("moved,5,new", "wrong,word,c"), night(2) - HOUR)
    told.night(2)
    return told


def test_story_of_a_fix(orders: Orders) -> None:
    before = orders.tables()
    assert orders.readmit(2, rule=NOT_NEGATIVE, set_aside_to="2024-12-31").facts["skipped"]
    assert orders.exit_code("readmit_rows", 2, rule=NOT_NEGATIVE) == EXIT_INPUT  # the rule is as wrong as it was

    orders.write_folder(MENDED)
    asked = orders.readmit(1, rule=NOT_NEGATIVE, why="refunds are negative", actor="ann")
    assert asked.counts == {"asked": 6, "readmitted": 5, "still_bad": 1}
    assert asked.facts == {"night": format_night(night(3)), "still_broken": f"{NOT_NEGATIVE} (1)"}
    assert orders.readmit(1, rule="expect_column_values_to_be_between:doubled").facts["skipped"]
    assert orders.tables() == before  # nothing moves before the night that is still open

    orders.land("3.csv", csv("new,1,d"), night(3) - HOUR)
    orders.night(3)
    assert orders.counts(3) == {
        "received": 1,
        "readmitted": 5,
        "good": 4,
        "quarantined": 0,
        "duplicate": 1,
        "superseded": 1,
    }
    came_back = {row["id"]: row for row in orders.rows("clean", 3) if row["known_by"] == "readmitted"}
    assert {id_: (row["amount"], row["_file"], row["_row"]) for id_, row in came_back.items()} == {
        "back": (-1, "1.csv", 1),
        "again": (-3, "1.csv", 3),
        "same": (-4, "1.csv", 7),
    }
    assert {row["known_at"] for row in came_back.values()} == {night(3)}
    after = orders.tables()
    assert [row for row in after["clean"] if format_night(night(3)) not in row] == before["clean"]
    assert after["quarantine"] == before["quarantine"]

    for number, first in ((1, None), (3, None), (3, 0)):  # each alone, and all in one replay
        orders.night(number, first)
        assert orders.tables() == after, (number, first)
    assert orders.readmit(1, rule=NOT_NEGATIVE, file="nobody.csv").facts["skipped"]
    assert orders.exit_code("readmit_rows", 3, rule=NOT_NEGATIVE) == EXIT_INPUT  # `stays` is all that is left
    assert orders.tables() == after

    ledger = orders.open_ledger()
    (line,) = ledger.audit(NAME)
    assert (line.action, line.actor, line.why) == ("readmit_rows", "ann", "refunds are negative")
    assert (line.from_, line.to, line.as_of) == ("quarantine", "5 rows of 1 files", night(3))
    ledger.close()
