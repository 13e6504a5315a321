"""A table becomes one landed file a night, from a real database and a real Delta table."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from sqlalchemy import Column, DateTime, Integer, MetaData, Table, create_engine, insert

from nightloop.folders.schedule import last_tick_at_or_before
from nightloop.folders.source import Source
from nightloop.loop.night.extraction import land_extracts
from nightloop.run import Replay, format_night
from nightloop.stores.landing.landing import list_files
from nightloop.stores.ledger.ledger import Ledger, migrate

T = [datetime(2025, 1, day, 2, tzinfo=UTC) for day in range(1, 8)]
CUSTOMERS = Table("customers", MetaData(), Column("id", Integer), Column("updated_at", DateTime))
Land = Callable[..., list[str]]


def make_source(extract: dict[str, Any]) -> Source:
    return Source.model_validate(
        {
            "name": "customers",
            "owner": "o",
            "description": "d",
            "schedule": "0 2 * * *",
            "start": "2025-01-01",
            "uri": "customers",
            "format": "parquet",
            "extract": extract,
            "columns": {"id": {"type": "int"}, "updated_at": {"type": "timestamp"}},
            "keys": ["id"],
            "clean_sql": "SELECT id, updated_at FROM raw",
            "suite": {},
        }
    )


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A table with one customer changed an hour before each instant of T; return how it is extracted."""
    url = f"sqlite:///{tmp_path}/crm.db"
    engine = create_engine(url)
    CUSTOMERS.metadata.create_all(engine)
    with engine.begin() as connection:
        rows = [{"id": number, "updated_at": at - timedelta(hours=1)} for number, at in enumerate(T)]
        connection.execute(insert(CUSTOMERS), rows)
    engine.dispose()
    monkeypatch.setenv("NIGHTLOOP_CONNECTION_CRM", url)
    return {"kind": "database", "connection": "crm", "table": "customers"}


@pytest.fixture
def land(tmp_path: Path) -> Land:
    """A function that lands nights of a source as its job would, closing them afterwards if asked."""
    migrate(f"sqlite:///{tmp_path}/ledger.db")

    def run(source: Source, *nights: datetime, is_closed: bool = False, variant: str = "main") -> list[str]:
        ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
        replay = Replay(source.name, nights, variant)
        try:
            added = land_extracts(source, replay, ledger, str(tmp_path / "landing"), tmp_path)
            if is_closed:
                ledger.close_run(replay, ledger.draw_token(replay, "clean_source"))
        finally:
            ledger.close()
        return added

    return run


def ids(tmp_path: Path, name: str) -> list[int]:
    return sorted(pq.read_table(tmp_path / "landing" / "customers" / name)["id"].to_pylist())


def test_the_first_night_takes_the_past_and_each_other_its_own_changes(
    database: dict[str, Any], land: Land, tmp_path: Path
) -> None:
    source = make_source({**database, "changed_at": "updated_at"})
    assert land(source, *T[2:4], is_closed=True) == ["20250103T0200Z.parquet", "20250104T0200Z.parquet"]
    assert land(source, T[4]) == ["20250105T0200Z.parquet"]
    found = list_files("customers", str(tmp_path / "landing"))
    assert [(file.arrived_at, ids(tmp_path, file.path)) for file in found] == [
        (T[2], [0, 1, 2]),
        (T[3], [3]),
        (T[4], [4]),
    ]


def test_what_a_night_took_once_stays(database: dict[str, Any], land: Land, tmp_path: Path) -> None:
    source = make_source({**database, "changed_at": "updated_at"})
    land(source, T[2], is_closed=True)
    land(source, T[3])
    with create_engine(f"sqlite:///{tmp_path}/crm.db").begin() as connection:
        connection.execute(insert(CUSTOMERS), {"id": 99, "updated_at": T[3] - timedelta(hours=2)})
    assert land(source, T[3]) == []
    assert ids(tmp_path, "20250104T0200Z.parquet") == [3]
    assert land(source, T[2]) == land(source, T[4], variant="restated") == []


def test_a_night_without_changes_lands_nothing(database: dict[str, Any], land: Land) -> None:
    source = make_source({**database, "changed_at": "updated_at"})
    land(source, T[6], is_closed=True)
    assert land(source, T[6] + timedelta(days=1)) == []


def test_a_whole_table_stands_for_the_night_in_progress_alone(
    database: dict[str, Any], land: Land, tmp_path: Path
) -> None:
    night = last_tick_at_or_before("0 2 * * *", datetime.now(UTC))
    assert land(make_source(database), night - timedelta(days=1), night) == [f"{format_night(night)}.parquet"]
    assert ids(tmp_path, f"{format_night(night)}.parquet") == list(range(7))


def test_a_delta_table_is_landed_with_its_version(land: Land, tmp_path: Path) -> None:
    marts = tmp_path / "marts"
    for number in range(2):
        types = {"id": pa.int32(), "updated_at": pa.timestamp("us", "UTC")}
        rows = pa.table({"id": [number], "updated_at": [T[number]]}, schema=pa.schema(types))
        write_deltalake(marts, rows, mode="append")
    source = make_source({"kind": "delta", "location": str(marts)})
    night = last_tick_at_or_before("0 2 * * *", datetime.now(UTC)) + timedelta(days=1)
    assert land(source, T[0], night) == [f"{format_night(night)}-v1.parquet"]
    assert ids(tmp_path, f"{format_night(night)}-v1.parquet") == [0, 1]
    assert land(source, night) == []
