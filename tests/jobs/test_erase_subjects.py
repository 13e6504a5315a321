"""`erase_subjects`: people are gone from every store, others stay as they are.

An erasure that was killed goes on, and what a run under way has written meanwhile is erased as well.
"""

import gzip
import json
import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

from nightloop.privacy.traces import compile_traces
from nightloop.run import JobResult
from nightloop.stores.keys import load_key_ring, rotate_key
from nightloop.stores.lake.history import LakeHistory
from nightloop.stores.ledger.ledger import Ledger
from nightloop.stores.trace_search import search_folder
from nightloop.stores.warehouse.warehouse import Warehouse
from tests.jobs.people import NIGHTS, USE_CASE, People, Person, all_identifiers, read_rows
from tests.killable import KillableServer
from tests.loop import Loop

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # MLflow warns about its own libraries

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
HISTORIES = 200
ASKED = {"source": "loan_applications", "why": "asked for", "actor": "ann"}


@pytest.fixture
def loop(server: KillableServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loop:
    for name in ("NIGHTLOOP_LAKE", "NIGHTLOOP_LEDGER_URL", "NIGHTLOOP_WAREHOUSE_URL", "NIGHTLOOP_PII_KEY"):
        monkeypatch.delenv(name, raising=False)
    return Loop(tmp_path / "home", USE_CASE, server.remote).migrate()


@pytest.fixture
def world(loop: Loop) -> People:
    return settle(loop, HISTORIES)


def settle(loop: Loop, histories: int) -> People:
    """Fill the stores with the people of so many histories."""
    first = load_key_ring(loop.home, {}).current
    people = People(loop.home, (first, rotate_key(loop.home, {}).current))
    for seed in range(histories):
        people.add_history(seed)
    ledger, warehouse = Ledger.open(loop.settings.ledger_url), Warehouse.open(loop.settings.warehouse_url)
    people.write(loop.settings, ledger, warehouse)
    ledger.close()
    warehouse.close()
    return people


def ask(loop: Loop, name: str, header: str, *values: str) -> None:
    inbox = loop.home / "erasures"
    inbox.mkdir(mode=0o700, exist_ok=True)
    path = inbox / f"{name}.csv"
    path.write_text("\n".join([header, *values]) + "\n")
    path.chmod(0o600)


def erase_people(loop: Loop, name: str) -> JobResult:
    return loop.run("erase_subjects", "platform", "platform", AS_OF, request=name, **ASKED)


def assert_left(people: People, loop: Loop, gone: list[Person]) -> None:
    for path in people.rows:
        assert read_rows(loop.settings, path) == people.left(path, gone), path
    for source, night in people.landed:
        content = gzip.decompress((loop.home / "landing" / source / f"{night}.csv.gz").read_bytes())
        assert content == people.landed_left(source, night, gone)


def entities(loop: Loop, table: str) -> set[str]:
    with closing(sqlite3.connect(loop.home / "warehouse.db")) as connection:
        return {row[0] for row in connection.execute(f"SELECT entity_key FROM {table}")}


def test_people_of_two_hundred_histories_are_gone_and_nobody_else(
    world: People, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(7)
    gone = [world.persons[0], *(person for person in world.persons[1:] if draw.random() < 0.3)]
    kept = [person for person in world.persons if person not in gone]
    traces = compile_traces(all_identifiers(gone, world.keys))
    before = {hit.path.relative_to(loop.home).parts[0] for hit in search_folder(loop.home, traces)}
    assert {"lake", "landing", "reports", "logs", "warehouse.db"} <= before

    ask(loop, "case-1", "national_id", *(person.national_id for person in gone))
    with monkeypatch.context() as patch:
        patch.setattr(LakeHistory, "checkpoint", killing(LakeHistory.checkpoint, at=4))
        with pytest.raises(KeyboardInterrupt):
            erase_people(loop, "case-1")
    world.rescore(loop.settings, gone[0])
    with pytest.raises(AssertionError, match="exit code 75"):
        erase_people(loop, "case-1")
    result = erase_people(loop, "case-1")

    assert_left(world, loop, gone)
    assert list(search_folder(loop.home, traces)) == []
    others = compile_traces(all_identifiers(kept, world.keys))
    assert {hit.path.relative_to(loop.home).parts[0] for hit in search_folder(loop.home, others)} >= {"lake", "landing"}
    for table in ("scores", "outcomes"):
        left = {key for person in kept for key in person.applications}
        assert entities(loop, table) <= left
    assert_certified(loop, gone, result, world)


def killing(method, at: int):  # type: ignore[no-untyped-def]
    """Return the method, which fails when it is called for the `at`-th time, as a kill would."""
    calls = iter(range(at))

    def call(*arguments):  # type: ignore[no-untyped-def]
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return method(*arguments)

    return call


def assert_certified(loop: Loop, gone: list[Person], result: JobResult, world: People) -> None:
    (certificate,) = (loop.home / "reports" / "erasure").rglob("*.json")
    document = json.loads(certificate.read_text())
    rows = {table["table"]: table["rows"] for table in document["tables"]}
    assert result.links == {"certificate": str(certificate)}
    assert rows == {path: len(found) - len(world.left(path, gone)) for path, found in world.rows.items()}
    assert all(table["version_after"] > table["version_before"] for table in document["tables"] if table["rows"])
    assert (document["subjects"], document["actor"], document["why"]) == (len(gone), "ann", "asked for")
    assert [model["version"] for model in document["models"]] == [2]
    assert not list((loop.home / "erasures").iterdir())
    ledger = Ledger.open(loop.settings.ledger_url)
    assert [(row.action, row.actor) for row in ledger.audit("platform")] == [("erase_subjects", "ann")]
    for source, night in world.landed:
        (row,) = ledger.files(source, NIGHTS[night], NIGHTS[night])
        path = loop.home / "landing" / source / row.path
        assert (row.checksum, row.size) == (f"sum-{source}-{night}", path.stat().st_size)
        assert row.arrived_at.timestamp() == path.stat().st_mtime
    ledger.close()


def test_an_erasure_killed_at_every_step_ends_as_one_that_was_not(loop: Loop) -> None:
    people = settle(loop, 20)
    gone = people.persons[::3]
    ask(loop, "case-3", "national_id", *(person.national_id for person in gone))
    for step in ("find", "landing", "lake", "databases", "models", "files", "verify"):
        loop.kill_at(f"{step} …", "erase_subjects", "platform", "platform", AS_OF, request="case-3", **ASKED)
    result = erase_people(loop, "case-3")
    assert_left(people, loop, gone)
    assert list(search_folder(loop.home, compile_traces(all_identifiers(gone, people.keys)))) == []
    assert_certified(loop, gone, result, people)


def test_people_are_gone_from_stores_in_postgresql(loop: Loop, postgresql_url: str) -> None:
    stores = {"NIGHTLOOP_LEDGER_URL": postgresql_url, "NIGHTLOOP_WAREHOUSE_URL": postgresql_url}
    loop = replace(loop, more=stores).migrate()
    people = settle(loop, 20)
    gone = people.persons[::3]
    traces = compile_traces(all_identifiers(gone, people.keys)).whole
    assert traces.search(read_database(postgresql_url))

    ask(loop, "case-4", "national_id", *(person.national_id for person in gone))
    result = erase_people(loop, "case-4")
    assert_left(people, loop, gone)
    assert_certified(loop, gone, result, people)
    assert list(search_folder(loop.home, compile_traces(all_identifiers(gone, people.keys)))) == []
    content = read_database(postgresql_url)
    assert traces.search(content) is None
    kept = [person for person in people.persons if person not in gone]
    assert compile_traces(all_identifiers(kept, people.keys)).whole.search(content)


def read_database(url: str) -> bytes:
    """Return every value of every table of a database as text."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = inspect(connection)
        tables = [(schema, name) for schema in found.get_schema_names() for name in found.get_table_names(schema)]
        rows = [row for schema, name in tables for row in connection.execute(text(f"SELECT * FROM {schema}.{name}"))]
    engine.dispose()
    return "\n".join(str(value) for row in rows for value in row).encode()


def test_somebody_whom_nobody_knows_changes_nothing(loop: Loop, capfd: pytest.CaptureFixture[str]) -> None:
    people = settle(loop, 1)
    ask(loop, "case-2", "national_id", "NID-of-nobody")
    files = {path: path.stat().st_mtime_ns for path in (loop.home / "lake").rglob("*") if path.is_file()}
    with pytest.raises(AssertionError, match="exit code 65"):
        erase_people(loop, "case-2")
    said = capfd.readouterr().out
    assert "none anywhere" in said
    assert "NID-of-nobody" not in said
    assert files == {path: path.stat().st_mtime_ns for path in (loop.home / "lake").rglob("*") if path.is_file()}
    assert_left(people, loop, [])
    assert not (loop.home / "reports" / "erasure").exists()
