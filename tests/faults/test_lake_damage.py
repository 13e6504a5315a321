"""A damaged lake: jobs name the table and its repair, `nightloop doctor` says the same, and a rerun heals."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nightloop.commands.doctor import examine
from nightloop.run import EXIT_INPUT, format_night
from tests.e2e.compare import assert_equal, read_night
from tests.faults.restaurant import NIGHTS, Restaurant

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("error:::(nightloop|jobs)"),
]
NIGHT = NIGHTS[0]


def _newest_commit(table: Path) -> Path:
    return max((table / "_delta_log").glob("*.json"))


def _data_file(table: Path) -> Path:
    return next(table.glob(f"night={format_night(NIGHT)}/**/*.parquet"))


def _cut_commit(table: Path) -> None:
    commit = _newest_commit(table)
    commit.write_text(commit.read_text()[:-40])


def _empty_data(table: Path) -> None:
    path = _data_file(table)
    path.write_bytes(path.read_bytes()[:100])


@pytest.fixture
def told(restaurant: Restaurant) -> Restaurant:
    restaurant.land_nights(NIGHTS[:2])
    for night in NIGHTS[:2]:
        restaurant.take_in(night)
    return restaurant


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        pytest.param(lambda table: _data_file(table).unlink(), "1 missing or cut short", id="a data file is gone"),
        pytest.param(_empty_data, "1 missing or cut short", id="a data file is cut short"),
    ],
)
def test_lost_rows_are_named_and_the_rerun_brings_them_back(
    told: Restaurant, damage: Callable[[Path], None], expected: str
) -> None:
    before = read_night(told.loop, NIGHT)
    table = Path(told.loop.settings.lake, "raw", "visits")
    damage(table)
    code, said = told.attempt("clean_source", "visits", NIGHT)
    assert code == EXIT_INPUT, said[-3000:]
    assert "lake table raw/visits" in said
    assert expected in said
    assert format_night(NIGHT) in said
    (finding,) = [one for one in examine(told.loop.settings) if not one.is_good and one.name.startswith("lake")]
    assert expected in finding.found
    told.take_in(NIGHT)
    assert_equal(before, read_night(told.loop, NIGHT), "a night whose raw rows were lost")
    assert not [one for one in examine(told.loop.settings) if not one.is_good and one.name.startswith("lake")]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_cut_commit, id="the newest commit is cut short"),
        pytest.param(lambda table: (table / "_delta_log" / f"{0:020d}.json").unlink(), id="the first commit is gone"),
    ],
)
def test_a_broken_log_is_named_with_its_repair(told: Restaurant, damage: Callable[[Path], None]) -> None:
    table = Path(told.loop.settings.lake, "clean", "visits")
    kept = {path: path.read_bytes() for path in (table / "_delta_log").iterdir() if path.is_file()}
    damage(table)
    code, said = told.attempt("clean_source", "visits", NIGHT)
    assert code == EXIT_INPUT, said[-3000:]
    assert "lake table clean/visits" in said
    assert f"put {table / '_delta_log'} back" in said
    for path, content in kept.items():
        path.write_bytes(content)
    told.take_in(NIGHT)


def test_a_commit_that_was_never_finished_harms_nothing(told: Restaurant) -> None:
    """A writer that died leaves data files that no commit names, and a temporary log file: nobody reads them."""
    before = read_night(told.loop, NIGHT)
    table = Path(told.loop.settings.lake, "clean", "visits")
    orphan = _data_file(table).with_name("part-orphan.parquet")
    orphan.write_bytes(b"never committed")
    (table / "_delta_log" / f".{99:020d}.json.tmp").write_text(json.dumps({"add": {}}))
    assert_equal(before, read_night(told.loop, NIGHT), "a night beside an orphan")
    told.take_in(NIGHT)
    assert_equal(before, read_night(told.loop, NIGHT), "a night run again beside an orphan")
