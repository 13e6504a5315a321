"""Hostile files: one that cannot be taken refuses the night by name, nothing is published, and the mended one heals."""

import gzip
import io
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from nightloop.run import EXIT_INPUT, EXIT_OK
from tests.faults.restaurant import NIGHTS, VISITS_HEADER, Restaurant, visits_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("error:::(nightloop|jobs)"),
]
NIGHT = NIGHTS[0]
ARRIVED = NIGHT - timedelta(minutes=5)
LINES = visits_of(NIGHT)
HEALTHY = "\n".join((VISITS_HEADER, *LINES)) + "\n"


def _parquet(rows: int = 2, **changes: object) -> bytes:
    """Return tables of the house as Parquet; a change to None leaves its column out."""
    columns = {
        "table_id": [f"T{number * 7919 % rows}" for number in range(rows)],
        "seats": pd.array(range(rows), dtype="int32"),
        "since": pd.Timestamp("2025-01-01", tz="UTC").as_unit("us"),
    }
    kept = {name: values for name, values in (columns | changes).items() if values is not None}
    stream = io.BytesIO()
    pd.DataFrame(kept).to_parquet(stream)
    return stream.getvalue()


def _middle_cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _middle_overwritten(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[: middle - 200] + b"\xff" * 400 + content[middle + 200 :]


TABLES = _parquet()
REFUSED: dict[str, tuple[str, str, bytes, str]] = {
    "a truncated gzip": ("visits", "broken.csv.gz", _middle_cut(gzip.compress(HEALTHY.encode())), r"broken\.csv\.gz"),
    "no gzip at all": ("visits", "broken.csv.gz", HEALTHY.replace("V01", "W01").encode(), r"broken\.csv\.gz"),
    "another delimiter": ("visits", "broken.csv", HEALTHY.replace(",", ";").encode(), r"visit_id string .*missing"),
    "UTF-16": ("visits", "broken.csv", HEALTHY.encode("utf-16"), r"visit_id string .*missing"),
    "no header": ("visits", "broken.csv", "\n".join(LINES).encode(), r"visit_id string .*missing"),
    "an empty file": ("visits", "broken.csv", b"", r"visit_id string .*missing"),
    "a column missing": (
        "visits",
        "broken.csv",
        b"visit_id,visit_time,guests,discount,place\n",
        r"is_cancelled boolean .*missing",
    ),
    "a column renamed": (
        "visits",
        "broken.csv",
        HEALTHY.replace("guests", "persons").encode(),
        r"persons .*perhaps renamed",
    ),
    "a column twice": ("visits", "broken.csv", HEALTHY.replace("guests", "place", 1).encode(), r"place .*twice"),
    "a truncated Parquet file": ("tables", "broken.parquet", _middle_cut(TABLES), r"broken\.parquet"),
    "no Parquet at all": ("tables", "broken.parquet", b"PAR1 this is no Parquet file PAR1", r"broken\.parquet"),
    "a Parquet column missing": ("tables", "broken.parquet", _parquet(seats=None), r"seats int .*missing"),
    "a Parquet column retyped": (
        "tables",
        "broken.parquet",
        _parquet(seats=["two", "four"]),
        r"seats int .*seats string",
    ),
    "instants in nanoseconds": (
        "tables",
        "broken.parquet",
        _parquet(since=pd.Timestamp("2025-01-01", tz="UTC").as_unit("ns")),
        r"since timestamp .*since",
    ),
}
MENDED = {
    "visits": ("broken.csv", HEALTHY.encode()),
    "tables": ("broken.parquet", TABLES),
}


@pytest.mark.parametrize(
    ("source", "name", "content", "expected"), [pytest.param(*case, id=name) for name, case in REFUSED.items()]
)
def test_a_broken_file_refuses_the_night_and_the_mended_one_heals_it(
    restaurant: Restaurant, source: str, name: str, content: bytes, expected: str
) -> None:
    good = {"visits": HEALTHY.encode(), "tables": _parquet(table_id=["T8", "T9"])}[source]
    restaurant.land(source, "a_good_one.csv" if source == "visits" else "a_good_one.parquet", good, ARRIVED)
    broken = restaurant.land(source, name, content, ARRIVED)
    error = restaurant.refuse(NIGHT, source)
    assert re.search(expected, error), error
    assert broken.name in error
    for layer in ("raw", "clean", "quarantine"):
        assert restaurant.rows(layer, source).empty, "the good file beside it is not half-loaded"
    broken.unlink()
    mended, healthy = MENDED[source]
    restaurant.land(source, mended, healthy.replace(b"V01", b"W01"), ARRIVED)
    counts = restaurant.take_in(NIGHT, source)
    assert counts["received"] == sum(counts[name] for name in ("good", "quarantined", "duplicate", "superseded")) > 2


def test_a_parquet_page_overwritten_in_the_middle_publishes_nothing(restaurant: Restaurant) -> None:
    """Its footer is whole, so that only reading it finds the damage."""
    many = _parquet(20_000)
    path = restaurant.land("tables", "pages.parquet", _middle_overwritten(many), ARRIVED)
    code, said = restaurant.attempt("land_source", "tables", NIGHT)
    assert code == EXIT_INPUT, said[-3000:]
    assert path.name in said
    assert restaurant.rows("raw", "tables").empty
    restaurant.land("tables", "pages.parquet", many, ARRIVED)
    assert restaurant.take_in(NIGHT, "tables")["good"] == 20_000


def test_a_new_column_is_kept_aside_and_reported(restaurant: Restaurant) -> None:
    lines = HEALTHY.splitlines()
    wider = "\n".join([f"{lines[0]},mood", *(f"{line},good" for line in lines[1:])]) + "\n"
    restaurant.land("visits", "wider.csv", wider, ARRIVED)
    assert restaurant.take_in(NIGHT)["good"] > 0
    assert restaurant.checks(NIGHT)["new_columns"] == "warn"
    assert "mood" not in restaurant.rows("clean").columns
    assert set(restaurant.rows("raw")["_extra"]) == {'{"mood":"good"}'}


def test_json_lines_that_are_broken_or_no_objects(restaurant: Restaurant) -> None:
    lines = (
        '{"note_id": "N1", "stars": 5}',
        '{"note_id": "N2", "stars": ',
        "[1, 2]",
        "null",
        '{"note_id": "N3", "stars": "many"}',
    )
    restaurant.land("notes", "notes.jsonl", "\n".join(lines), ARRIVED)
    restaurant.land("notes", "more.jsonl", "\n".join(f'{{"note_id": "M{n}", "stars": {n}}}' for n in range(9)), ARRIVED)
    counts = restaurant.take_in(NIGHT, "notes")
    assert counts["received"] == counts["good"] + counts["quarantined"] == 14
    assert counts["quarantined"] == 4


def test_a_file_that_disappears_before_its_night_closed_is_named(restaurant: Restaurant) -> None:
    path = restaurant.land("visits", "gone.csv", HEALTHY, ARRIVED)
    assert restaurant.attempt("land_source", "visits", NIGHT)[0] == EXIT_OK
    path.unlink()
    assert "gone.csv" in restaurant.refuse(NIGHT)


@pytest.mark.parametrize(
    "hide",
    [
        pytest.param(lambda path: path.with_name(".hidden.csv"), id="hidden"),
        pytest.param(lambda path: path.with_name("arriving.csv.partial"), id="unfinished"),
        pytest.param(lambda path: path.parent / "_tmp" / path.name, id="in a working folder"),
    ],
)
def test_a_file_still_being_written_waits(restaurant: Restaurant, hide: Callable[[Path], Path]) -> None:
    path = restaurant.land_visits(NIGHT, *LINES)
    hidden = hide(path)
    hidden.parent.mkdir(exist_ok=True)
    path.rename(hidden)
    assert restaurant.take_in(NIGHT)["received"] == 0
    hidden.rename(path)
    assert restaurant.take_in(NIGHTS[1])["received"] == len(LINES)
