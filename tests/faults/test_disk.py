"""A full or read-only disk: a clear error, nothing half-published, and the rerun after the repair is equal."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from nightloop.run import EXIT_OK, EXIT_TRANSIENT
from tests.e2e.compare import assert_equal, read_night
from tests.faults.restaurant import NIGHTS, Restaurant
from tests.killable import killable_server
from tests.loop import copy_home

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("error:::(nightloop|jobs)"),
]
NIGHT = NIGHTS[1]
SIZE = "48m"


@contextmanager
def _mounted(folder: Path, size: str) -> Iterator[None]:
    """Mount an empty file system of a fixed size; the test is skipped where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def small_disk(restaurant: Restaurant, tmp_path: Path) -> Iterator[Restaurant]:
    """The restaurant's whole state on a file system of a few megabytes, one night old."""
    home = restaurant.loop.home
    moved = tmp_path / "state"
    home.rename(moved)
    with _mounted(home, SIZE):
        copy_home(moved, home)
        restaurant.land_nights(NIGHTS[:2])
        restaurant.take_in(NIGHTS[0])
        yield restaurant


def test_a_full_disk(small_disk: Restaurant) -> None:
    before = read_night(small_disk.loop, NIGHTS[0])
    blocks = [_fill(small_disk.loop.home)]
    for job in ("land_source", "clean_source"):
        code, said = small_disk.attempt(job, "visits", NIGHT)
        assert code != EXIT_OK, f"{job} ran on a full disk"
        assert any(mark in said for mark in ("No space left", "disk is full", "disk I/O error")), said[-3000:]
        assert "free some space" in said
        blocks.pop().unlink()
        assert small_disk.attempt(job, "visits", NIGHT)[0] == EXIT_OK
        blocks.append(_fill(small_disk.loop.home))
    blocks.pop().unlink()
    assert_equal(before, read_night(small_disk.loop, NIGHTS[0]), "the night before the disk was full")
    after = read_night(small_disk.loop, NIGHT)
    small_disk.take_in(NIGHT)
    assert_equal(after, read_night(small_disk.loop, NIGHT), "a night whose disk had been full")


def test_a_disk_that_nobody_may_write(small_disk: Restaurant) -> None:
    home = small_disk.loop.home
    lake = home / "lake"
    subprocess.run(["mount", "--bind", lake, lake], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", lake], check=True)
    try:
        code, said = small_disk.attempt("land_source", "visits", NIGHT)
        assert code != EXIT_OK
        assert "Read-only file system" in said, said[-3000:]
    finally:
        subprocess.run(["umount", lake], check=True)
    assert small_disk.take_in(NIGHT)["good"] > 0


def test_a_full_scratch_folder_of_spark(restaurant: Restaurant, tmp_path: Path) -> None:
    engine = tmp_path / "engine"
    with _mounted(engine / "spark" / "local", SIZE), killable_server(engine) as server:
        small = Restaurant(replace(restaurant.loop, remote=server.remote))
        small.land_nights(NIGHTS[:2])
        small.take_in(NIGHTS[0])
        assert small.attempt("land_source", "visits", NIGHT)[0] == EXIT_OK
        block = _fill(server.server.folder / "local")
        code, said = small.attempt("clean_source", "visits", NIGHT)
        assert code == EXIT_TRANSIENT, said[-3000:]
        assert "No space left" in said
        assert "Spark's scratch folder" in said
        block.unlink()
        assert small.attempt("clean_source", "visits", NIGHT)[0] == EXIT_OK
    after = read_night(restaurant.loop, NIGHT)
    assert after
    restaurant.take_in(NIGHT)
    assert_equal(after, read_night(restaurant.loop, NIGHT), "a night whose scratch folder had been full")


def _fill(folder: Path) -> Path:
    """Leave nothing free on the folder's file system."""
    block = folder / "block"
    with block.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"\0" * 65_536)
        except OSError:
            pass
    return block
