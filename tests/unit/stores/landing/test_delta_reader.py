"""Rows of a real Delta table outside the lake, pinned at a version."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from nightloop.etl.params import ChangeWindow, DeltaExtract
from nightloop.fault import NightloopError
from nightloop.stores.landing.delta_reader import open_delta, read_delta

T = [datetime(2025, 1, day, 2, tzinfo=UTC) for day in range(1, 6)]


@pytest.fixture
def location(tmp_path: Path) -> str:
    """A table that gained one row, changed then, at each instant of T[:3]."""
    path = tmp_path / "marts" / "customers"
    for version, at in enumerate(T[:3]):
        types = {"at": pa.timestamp("us", "UTC"), "local_at": pa.timestamp("us"), "id": pa.int32()}
        row = {"at": [at], "local_at": [at.replace(tzinfo=None)], "id": [version]}
        write_deltalake(path, pa.table(row, schema=pa.schema(types)), mode="append")
    return str(path)


def commit_times(location: str) -> list[datetime]:
    history = DeltaTable(location).history()
    return sorted(datetime.fromtimestamp(entry["timestamp"] / 1000, UTC) for entry in history)


def read(location: str, after: datetime | None, to: datetime, **changes: Any) -> list[int] | None:
    asked = DeltaExtract.model_validate({"kind": "delta", "location": location, **changes})
    window = ChangeWindow(after, to)
    table = open_delta(asked, window)
    return None if table is None else sorted(read_delta(table, asked, window).read_all()["id"].to_pylist())


@pytest.mark.parametrize("column", ["at", "local_at"])
def test_a_night_takes_the_rows_changed_since_the_night_before(column: str, location: str) -> None:
    assert read(location, T[0], T[1], changed_at=column) == [1]
    assert read(location, None, T[1], changed_at=column) == [0, 1]
    assert read(location, T[2], T[3], changed_at=column) == []


def test_without_a_change_column_the_version_of_the_night_is_read(location: str) -> None:
    first, second, third = commit_times(location)
    far = third + timedelta(days=9)
    assert [read(location, None, at) for at in (second, third, far)] == [[0, 1], [0, 1, 2], [0, 1, 2]]
    assert read(location, None, first - timedelta(seconds=1)) is None


def test_a_version_that_the_log_has_lost_is_a_clear_error(location: str) -> None:
    first = commit_times(location)[0]
    DeltaTable(location).create_checkpoint()
    for version in (0, 1):
        Path(location, "_delta_log", f"{version:020}.json").unlink()
    with pytest.raises(NightloopError, match="changed_at"):
        read(location, None, first)


@pytest.mark.parametrize("changes", [{"changed_at": "id"}, {"changed_at": "gone"}])
def test_a_change_column_must_be_a_timestamp(changes: dict[str, str], location: str) -> None:
    with pytest.raises(NightloopError, match=r"extract\.changed_at"):
        read(location, None, T[1], **changes)


def test_a_missing_table_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(NightloopError, match="a table, found none"):
        read(str(tmp_path / "nothing"), None, T[1])
