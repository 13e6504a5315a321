"""From landing zone, database and Delta table to raw and clean: the same file once, corrections, waiting, drift."""

import gzip
import importlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from deltalake import DeltaTable
from sqlalchemy import create_engine, text

from nightloop.run import EXIT_INPUT, EXIT_OK, JobResult
from nightloop.stores.landing import s3
from nightloop.stores.ledger import ledger
from tests.killable import KillableServer

pytestmark = pytest.mark.slow
T = [datetime(2025, 1, day, 2, tzinfo=UTC) for day in range(1, 8)]
SOURCE: dict[str, Any] = {
    "name": "customers",
    "owner": "o",
    "description": "d",
    "schedule": "0 2 * * *",
    "start": datetime(2025, 1, 1, tzinfo=UTC).date(),
    "uri": "customers",
    "format": "csv",
    "columns": {"id": {"type": "int", "required": True}, "visits": {"type": "int"}, "seen_at": {"type": "timestamp"}},
    "keys": ["id"],
}


class Feed:
    """One source of one installation: write its folder, send it files, run its nights."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def declare(self, **changes: Any) -> None:
        folder = self.home / "folders" / "sources" / "customers"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "source.yaml").write_text(yaml.safe_dump({**SOURCE, **changes}, sort_keys=False))
        (folder / "clean.sql").write_text("SELECT id, visits, seen_at FROM raw\n")
        (folder / "suite.yaml").write_text("expectations: []\n")

    def send(self, name: str, content: str, arrived_at: datetime) -> None:
        path = self.home / "landing" / "customers" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        os.utime(path, (arrived_at.timestamp(), arrived_at.timestamp()))

    def run(self, job: str, night: datetime) -> int:
        result = f"--result={self.home / 'result'}"
        argv = ["--scope=customers", "--kind=source", f"--as-of={night.isoformat()}", result]
        code: int = importlib.import_module(f"jobs.{job}").main(argv)
        return code

    def night(self, night: datetime) -> dict[str, int]:
        """Land and clean one night; return the counts of its landing."""
        assert self.run("land_source", night) == EXIT_OK
        counts = JobResult.read(self.home / "result").counts
        assert self.run("clean_source", night) == EXIT_OK
        return dict(counts)

    def checks(self, night: datetime) -> dict[str, str]:
        """Return what the landing of a night remarked."""
        opened = ledger.Ledger.open(f"sqlite:///{self.home}/ledger.db")
        try:
            rows = opened.checks("customers", night, night)
            return {row.check.name: row.check.detail for row in rows if row.dataset.startswith("raw")}
        finally:
            opened.close()

    def table(self, layer: str) -> Any:
        return DeltaTable(self.home / "lake" / layer / "customers").to_pandas()


@pytest.fixture
def feed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: KillableServer) -> Feed:
    values = {
        "NIGHTLOOP_HOME": tmp_path,
        "NIGHTLOOP_FOLDERS": tmp_path / "folders",
        "SPARK_REMOTE": server.remote,
    }
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))
    for name in ("NIGHTLOOP_LANDING", "NIGHTLOOP_LAKE", "NIGHTLOOP_LEDGER_URL"):
        monkeypatch.delenv(name, raising=False)
    ledger.migrate(f"sqlite:///{tmp_path}/ledger.db")
    return Feed(tmp_path)


def hour_before(night: datetime) -> datetime:
    return night - timedelta(hours=1)


def test_a_file_loads_once_a_correction_supersedes_and_a_new_column_is_kept_aside(feed: Feed) -> None:
    feed.declare()
    first = "id,visits,seen_at\n1,5,2025-01-01\n2,6,2025-01-01\n"
    correction = "id,visits,seen_at,tier\n1,7,2025-01-01,gold\n"
    feed.send("a.csv", first, hour_before(T[0]))
    assert feed.night(T[0]) == {"files": 1, "skipped": 0, "received": 2}

    feed.send("again.csv", first, hour_before(T[1]))
    feed.send("a_corrected.csv", correction, hour_before(T[1]))
    assert feed.night(T[1]) == {"files": 1, "skipped": 1, "received": 1}
    assert feed.checks(T[1]) == {"files": "", "skipped_files": "again.csv", "new_columns": "tier"}

    versions = feed.table("clean").sort_values(["id", "known_at"])
    assert versions[["id", "visits", "_file"]].to_numpy().tolist() == [
        [1, 5, "a.csv"],
        [1, 7, "a_corrected.csv"],
        [2, 6, "a.csv"],
    ]
    assert feed.table("raw").set_index("_file").loc["a_corrected.csv", "_extra"] == '{"tier":"gold"}'
    opened = ledger.Ledger.open(f"sqlite:///{feed.home}/ledger.db")
    manifest = [(row.path, row.size, row.arrived_at, row.rows) for row in opened.files("customers", T[0], T[1])]
    opened.close()
    assert manifest == [
        ("a.csv", len(first), hour_before(T[0]), 2),
        ("a_corrected.csv", len(correction), hour_before(T[1]), 1),
    ]


def test_a_retyped_file_fails_with_both_schemas_and_loads_nothing(
    feed: Feed, capsys: pytest.CaptureFixture[str]
) -> None:
    feed.declare()
    feed.send("good.csv", "id,visits,seen_at\n1,5,2025-01-01\n", hour_before(T[0]))
    feed.send("bad.csv", "id,visits,when\n" + "x-1,many,2025-01-01\n" * 30, hour_before(T[0]))
    assert feed.run("land_source", T[0]) == EXIT_INPUT
    assert table_in(capsys.readouterr().out) == [
        "expected | found",
        "id int | id string | retyped",
        "visits int | visits string | retyped",
        "seen_at timestamp | - | missing",
        "- | when date | new, perhaps renamed",
    ]
    assert not (feed.home / "lake" / "raw").exists()


def test_a_file_without_its_marker_waits_and_belongs_to_the_night_that_finds_it_whole(feed: Feed) -> None:
    feed.declare(success_marker="{name}.done")
    feed.send("a.csv", "id,visits,seen_at\n1,5,2025-01-01\n", hour_before(T[0]))
    assert feed.night(T[0]) == {"files": 0, "skipped": 0, "received": 0}
    assert feed.checks(T[0])["waiting_files"] == "a.csv"
    feed.send("a.csv.done", "", T[1])
    assert feed.night(T[1]) == {"files": 1, "skipped": 0, "received": 1}
    assert feed.checks(T[1]) == {"files": "", "late_files": "a.csv"}
    (known_at,) = feed.table("clean")["known_at"]
    assert T[0] < known_at <= T[1]


def test_a_database_is_landed_night_by_night_and_its_column_may_widen(
    feed: Feed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{feed.home}/crm.db?timeout=7"
    monkeypatch.setenv("NIGHTLOOP_CONNECTION_CRM", url)
    extract = {"kind": "database", "connection": "crm", "table": "people", "changed_at": "seen_at"}
    columns = SOURCE["columns"]
    feed.declare(format="parquet", extract=extract)
    execute(url, "CREATE TABLE people (id INTEGER, visits INTEGER, seen_at TIMESTAMP)", insert(1, 5, T[0]))
    assert feed.night(T[0]) == {"files": 1, "skipped": 0, "received": 1}
    execute(url, "DROP TABLE people", "CREATE TABLE people (id INTEGER, visits BIGINT, seen_at TIMESTAMP)")
    execute(url, insert(1, 5_000_000_000, T[1]))
    assert feed.run("land_source", T[1]) == EXIT_INPUT
    assert "visits int | visits bigint | retyped" in table_in(capsys.readouterr().out)

    wide = {**columns, "visits": {"type": "bigint", "widened_from": ["int"]}}
    feed.declare(format="parquet", extract=extract, columns=wide)
    assert feed.night(T[1]) == {"files": 1, "skipped": 0, "received": 1}
    assert feed.night(T[1]) == {"files": 1, "skipped": 0, "received": 1}
    assert sorted(feed.table("clean")["visits"]) == [5, 5_000_000_000]
    assert set(feed.table("clean")["_file"]) == {"20250101T0200Z.parquet", "20250102T0200Z.parquet"}
    assert "timeout=7" not in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore")
def test_objects_of_s3_are_loaded_by_an_engine_that_reads_local_files(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3.open_client.cache_clear()
    try:
        client = s3.open_client()
        client.create_bucket(Bucket="landing")
        for number, night in enumerate(T[:2]):
            content = gzip.compress(f"id,visits,seen_at\n{number},5,2025-01-01\n".encode())
            stated = {"arrived-at": hour_before(night).isoformat()}
            client.put_object(Bucket="landing", Key=f"customers/{number} +.csv.gz", Body=content, Metadata=stated)
        feed.declare(uri="s3://landing/customers")
        assert [feed.night(night)["files"] for night in T[:2]] == [1, 1]
        assert feed.night(T[1]) == {"files": 1, "skipped": 0, "received": 1}
    finally:
        s3.open_client.cache_clear()
        server.stop()
    assert sorted(feed.table("clean")["_file"]) == ["0 +.csv.gz", "1 +.csv.gz"]
    assert list((feed.home / "work").iterdir()) == []


def table_in(log: str) -> list[str]:
    return [" ".join(line.split()) for line in log.splitlines() if "|" in line]


def execute(url: str, *statements: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def insert(number: int, visits: int, at: datetime) -> str:
    return f"INSERT INTO people VALUES ({number}, {visits}, '{hour_before(at):%Y-%m-%d %H:%M:%S.%f}')"
