"""Every bad row is named with its rule, run, file and place, however many there are; the page of a run is safe."""

from pathlib import Path

import pytest

from nightloop.run import EXIT_INPUT, format_night
from tests.jobs.orders import HOUR, NOT_NEGATIVE, Orders, between, csv, night
from tests.killable import KillableServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # the jobs run in this process, and their libraries warn when imported
    pytest.mark.filterwarnings("error:::(nightloop|jobs)"),
]

BAD, ALL = 50_000, 60_000
SCRIPT = "<script>alert(1)</script>"
IN_SET = {"expect": "expect_column_values_to_be_in_set", "severity": "warn"}


def test_every_bad_row_of_many_is_found(server: KillableServer, tmp_path: Path) -> None:
    orders = Orders.create(tmp_path, server.remote, budget={"ratio": BAD / ALL, "rows": BAD})
    orders.land("many.csv", csv(*(f"k{n},{'-1' if n <= BAD else '1'}," for n in range(1, ALL + 1))), night(0) - HOUR)
    orders.night(0)
    assert orders.counts(0) == {
        "received": ALL,
        "readmitted": 0,
        "good": ALL - BAD,
        "quarantined": BAD,
        "duplicate": 0,
        "superseded": 0,
    }
    rows = orders.rows("quarantine")
    assert {row["_row"] for row in rows} == set(range(1, BAD + 1))
    assert {(row["_file"], row["night"], row["variant"], tuple(row["rules"])) for row in rows} == {
        ("many.csv", format_night(night(0)), "main", (NOT_NEGATIVE,))
    }

    orders.land("one.csv", csv("a,-1,", "b,1,"), night(1) - HOUR)
    orders.run("land_source", night(1))
    orders.write_folder([between("amount", min_value=0)], budget={"ratio": 0.49})
    assert orders.exit_code("clean_source", 1) == EXIT_INPUT
    assert [row["_row"] for row in orders.rows("quarantine", 1)] == [1]
    assert orders.rows("clean", 1) == []
    orders.write_folder([between("amount", min_value=0)], budget={"ratio": 0.5})
    orders.run("clean_source", night(1))
    assert [row["id"] for row in orders.rows("clean", 1)] == ["b"]


def test_unparseable_line_keeps_its_place_and_not_its_content(server: KillableServer, tmp_path: Path) -> None:
    orders = Orders.create(tmp_path, server.remote)
    content = csv('a,1,"two\nlines"', "my secret is 1234", "", "b,-1,x")
    orders.land("a.csv", content, night(0) - HOUR)
    orders.night(0)
    broken, bad = sorted(orders.rows("quarantine"), key=lambda row: row["_row"])
    begin, length = int(broken["_offset"]), int(broken["_length"])
    assert content.encode()[begin : begin + length] == b"my secret is 1234"
    assert (broken["_file"], broken["_row"], list(broken["rules"]), broken["content"]) == (
        "a.csv",
        2,
        ["corrupt"],
        None,
    )
    assert (bad["_row"], list(bad["rules"])) == (3, [NOT_NEGATIVE])
    assert '"amount":"-1"' in bad["content"]
    assert "my secret" not in str(orders.tables())


def test_page_shows_what_the_suite_found_and_can_run_nothing(server: KillableServer, tmp_path: Path) -> None:
    suite = [
        between("amount", min_value=0),
        IN_SET | {"kwargs": {"column": "note", "value_set": ["<b>fine</b>"]}},
        IN_SET | {"kwargs": {"column": "id", "value_set": ["nobody"]}},
        IN_SET | {"kwargs": {"column": "email", "value_set": ["nobody"]}},
        between("amount", "fail", max_value=5),
    ]
    columns = {name: {"type": "string"} for name in ("id", "amount", "note", "email")} | {"amount": {"type": "double"}}
    pii = {"email": {"treatment": "hash"}}
    sql = "SELECT id, amount, note, email FROM raw"
    orders = Orders.create(tmp_path, server.remote, suite, clean_sql=sql, columns=columns, pii=pii)
    rows = ("id,amount,note,email", f"record-7,1,{SCRIPT},ann@example.org", "record-8,-1,x,bob@example.org", "")
    orders.land("a.csv", "\n".join(rows), night(0) - HOUR)
    result = orders.night(0)
    page = Path(result.links["data_docs"])
    assert page == orders.loop.settings.reports / "data_docs/orders" / format_night(night(0)) / "main/clean.html"
    html = page.read_text()
    assert "1 unexpected values found. 50% of 2 total rows." in " ".join(html.split())  # the row rule stands there too
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert SCRIPT not in html
    assert "<b>fine</b>" not in html
    assert "script-src" not in html
    assert "default-src 'none'; style-src 'unsafe-inline'" in html.partition("<body>")[0]
    for hidden in ("record-7", "ann@", "bob@", "example.org"):
        assert hidden not in html
    assert not [row["email"] for row in orders.rows("clean", 0) if row["email"] in html]

    orders.land("b.csv", "\n".join((rows[0], "record-9,6,y,cid@example.org", "")), night(1) - HOUR)
    orders.run("land_source", night(1))
    assert orders.exit_code("clean_source", 1) == EXIT_INPUT
    failed = orders.loop.settings.reports / "data_docs/orders" / format_night(night(1)) / "main/clean.html"
    assert "Failed" in failed.read_text()
