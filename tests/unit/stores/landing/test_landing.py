"""The landing zone of local files: arrival, completeness, checksums."""

import gzip
import hashlib
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nightloop.stores.landing import landing
from nightloop.stores.landing.landing import (
    compute_checksum,
    find_growing,
    land_file,
    list_files,
    open_file,
    replace_content,
)

ARRIVED = datetime(2025, 1, 2, 1, 50, tzinfo=UTC)


def write(path: Path, content: bytes = b"x", arrived_at: datetime = ARRIVED) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (arrived_at.timestamp(), arrived_at.timestamp()))


def test_local_files_arrive_at_their_modification_time(tmp_path: Path) -> None:
    for name in (
        "loans/b.csv",
        "loans/sub/a.csv.gz",
        "loans/.hidden",
        "loans/_SUCCESS",
        "loans/c.csv.partial",
        "other/d.csv",
    ):
        write(tmp_path / name, gzip.compress(b"x") if name.endswith(".gz") else b"x")
    files = list_files("loans", str(tmp_path))
    assert [(file.path, file.arrived_at) for file in files] == [("b.csv", ARRIVED), ("sub/a.csv.gz", ARRIVED)]
    assert compute_checksum(files[0]) == hashlib.sha256(b"x").hexdigest()
    with open_file(files[1]) as stream:
        assert stream.read() == b"x"


def test_folder_that_does_not_exist_yet_is_empty(tmp_path: Path) -> None:
    assert list_files("loans", str(tmp_path)) == []


@pytest.mark.parametrize(
    ("marker", "files", "complete"),
    [
        pytest.param("_SUCCESS", ["a.csv", "b.csv", "_SUCCESS"], ["a.csv", "b.csv"], id="one for the folder"),
        pytest.param("_SUCCESS", ["x/a.csv", "x/_SUCCESS", "y/b.csv"], ["x/a.csv"], id="each folder its own"),
        pytest.param("{name}.done", ["a.csv", "a.csv.done", "b.csv", "c.csv.done"], ["a.csv"], id="one for each file"),
        pytest.param("ready", ["ready", "a.csv"], [], id="older than its file"),
    ],
)
def test_a_file_is_complete_once_its_marker_lies_beside_it(
    marker: str, files: list[str], complete: list[str], tmp_path: Path
) -> None:
    for seconds, name in enumerate(files):
        write(tmp_path / name, arrived_at=ARRIVED + timedelta(seconds=seconds))
    listed = list_files(".", str(tmp_path), marker)
    assert [file.path for file in listed if file.is_complete] == complete
    assert not {file.path for file in listed} & {"_SUCCESS", "a.csv.done", "c.csv.done", "ready"}


def test_a_file_that_grows_between_two_looks_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landing, "SETTLE_SECONDS", 0.5)
    for name in ("grows.csv", "changes.csv", "stands.csv", "goes.csv", "old.csv"):
        write(tmp_path / name, b"1,2\n", ARRIVED if name == "old.csv" else datetime.now(UTC))
    checksums = {file: compute_checksum(file) for file in list_files(".", str(tmp_path))}
    changed = next(file for file in checksums if file.path == "changes.csv")

    def go_on() -> None:
        with (tmp_path / "grows.csv").open("ab") as stream:
            stream.write(b"3,4\n")
        write(tmp_path / "changes.csv", b"1,3\n", changed.arrived_at)
        (tmp_path / "goes.csv").unlink()

    writer = threading.Timer(0.1, go_on)
    writer.start()
    growing = find_growing(checksums)
    writer.join()
    assert {file.path for file in growing} == {"grows.csv", "changes.csv", "goes.csv"}


def test_old_files_are_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path / "old.csv")
    (file,) = list_files(".", str(tmp_path))
    started = time.monotonic()
    assert find_growing({file: compute_checksum(file)}) == set()
    assert time.monotonic() - started < 1


def test_a_landed_file_arrived_when_told_and_is_never_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "landing" / "loans"
    for content in (b"first", b"second"):
        write(tmp_path / "out", content)
        land_file(tmp_path / "out", str(folder), "a.parquet", ARRIVED)
    (file,) = list_files("loans", str(tmp_path / "landing"))
    assert (file.path, file.arrived_at) == ("a.parquet", ARRIVED)
    assert [path.name for path in folder.iterdir()] == ["a.parquet"]
    assert (folder / "a.parquet").read_bytes() == b"first"


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_replaced_file_keeps_its_arrival_and_compression(tmp_path: Path, name: str) -> None:
    path = tmp_path / "loans" / name
    path.parent.mkdir()
    path.write_bytes(gzip.compress(b"old") if name.endswith(".gz") else b"old")
    os.utime(path, ns=(1, 1_700_000_000_123_456_789))
    (file,) = list_files("loans", str(tmp_path))
    size = replace_content(file, b"newer")
    (again,) = list_files("loans", str(tmp_path))
    assert (again.arrived_at, again.size) == (file.arrived_at, size)
    with open_file(again) as stream:
        assert stream.read() == b"newer"
    assert [path] == list(path.parent.iterdir())
