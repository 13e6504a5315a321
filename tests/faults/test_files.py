"""Hostile files: one that cannot be taken refuses the night by name, nothing is published, and the mended one heals."""

import gzip
import io
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


def _parquet(**columns: object) -> bytes:
    stream = io.BytesIO()
    pd.DataFrame(
        {"table_id": ["T1", "T2"], "seats": [2, 4], "since": pd.to_datetime(["2025-01-01"] * 2, utc=True)} | columns
    ).to_parquet(stream, coerce_timestamps="us", allow_truncated_timestamps=True)
    return stream.getvalue()


def _without_seats() -> bytes:
    stream = io.BytesIO()
    pd.DataFrame({"table_id": ["T1"]}).to_parquet(stream, coerce_timestamps="us", allow_truncated_timestamps=True)
    return stream.getvalue()


def _middle_cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _middle_overwritten(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[: middle - 200] + b"\xff" * 400 + content[middle + 200 :]


TABLES = _parquet(seats=list(range(2)), table_id=["T1", "T2"])
REFUSED: dict[str, tuple[str, str, bytes, str]] = {
    "a truncated gzip": ("visits", "broken.csv.gz", _middle_cut(gzip.compress(HEALTHY.encode())), "broken.csv.gz"),
    "no gzip at all": ("visits", "broken.csv.gz", HEALTHY.replace("V01", "W01").encode(), "broken.csv.gz"),
    "another delimiter": ("visits", "broken.csv", HEALTHY.replace(",", ";").encode(), "missing: visit_id"),
    "UTF-16": ("visits", "broken.csv", HEALTHY.encode("utf-16"), "missing: visit_id"),
    "no header": ("visits", "broken.csv", "\n".join(LINES).encode(), "missing: visit_id"),
    "an empty file": ("visits", "broken.csv", b"", "missing: visit_id"),
    "a column missing": (
        "visits",
        "broken.csv",
        b"visit_id,visit_time,guests,discount,place\n",
        "missing: is_cancelled",
    ),
    "a column renamed": (
        "visits",
        "broken.csv",
        HEALTHY.replace("guests", "persons").encode(),
        "new: persons (renamed?)",
    ),
    "a column twice": ("visits", "broken.csv", HEALTHY.replace("guests", "place", 1).encode(), "twice: place"),
    "a truncated Parquet file": ("tables", "broken.parquet", _middle_cut(TABLES), "broken.parquet"),
    "no Parquet at all": ("tables", "broken.parquet", b"PAR1 this is no Parquet file PAR1", "broken.parquet"),
    "a Parquet column missing": ("tables", "broken.parquet", _without_seats(), "seats"),
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
    assert expected in error
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
    many = _parquet_of(20_000)
    path = restaurant.land("tables", "pages.parquet", _middle_overwritten(many), ARRIVED)
    code, said = restaurant.attempt("land_source", "tables", NIGHT)
    assert code == EXIT_INPUT, said[-3000:]
    assert path.name in said
    assert restaurant.rows("raw", "tables").empty
    restaurant.land("tables", "pages.parquet", many, ARRIVED)
    assert restaurant.take_in(NIGHT, "tables")["good"] == 20_000


def _parquet_of(rows: int) -> bytes:
    stream = io.BytesIO()
    names = [f"T{number * 7919 % rows}" for number in range(rows)]
    pd.DataFrame({"table_id": names, "seats": range(rows), "since": pd.Timestamp("2025-01-01", tz="UTC")}).to_parquet(
        stream
    )
    return stream.getvalue()


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
