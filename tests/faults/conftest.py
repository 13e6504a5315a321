"""A small restaurant whose feeds are broken in every way, on a state folder per test."""

from pathlib import Path

import pytest

from tests.faults.restaurant import FOLDERS, USE_CASE, Restaurant
from tests.killable import KillableServer
from tests.loop import Loop, copy_home


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated state folder, to be copied."""
    home = tmp_path_factory.mktemp("faults") / "empty"
    Loop(home, USE_CASE, "", (FOLDERS,)).migrate()
    return home


@pytest.fixture
def restaurant(server: KillableServer, empty_home: Path, tmp_path: Path) -> Restaurant:
    """A restaurant that has received nothing yet."""
    copy_home(empty_home, tmp_path / "home")
    return Restaurant(Loop(tmp_path / "home", USE_CASE, server.remote, (FOLDERS,)))
