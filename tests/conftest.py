"""Fixtures that every part of the suite may ask for, and the order in which two workers share it."""

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, text
from xdist.scheduler import LoadScopeScheduling

from nightloop.engine.server import JAVA_OPTIONS_VARIABLE, SMALL_NIGHTS, ConnectServer, running_server
from nightloop.engine.session import open_session
from tests.killable import KillableServer, killable_server
from tests.loop import job_environment

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


# Whole on one worker: what needs a stack, for two of them at once may choose the same ports, and the stories of jobs,
# which share a world and a first training.
LANES = {
    "stack": (
        "e2e/test_demo", "e2e/test_task_killed", "e2e/test_interrupted", "e2e/test_lending_club",
        "unit/stack/test_stack",
    ),
    "stories": (
        "e2e/test_replay", "e2e/test_feature_versions", "e2e/test_erasure", "e2e/test_lineage", "e2e/test_same_night",
    ),
}  # fmt: skip
# Files of minutes, the longest first: the last ones shall be short, or one worker waits for the other.
LONGEST = (
    "unit/training/test_launch", "faults/test_attempts", "jobs/test_retraining", "unit/evaluation/test_error_budget",
    "faults/test_files", "jobs/test_reconciliation", "jobs/test_erase_subjects", "faults/test_lake_damage",
    "jobs/test_readmit_rows", "jobs/test_prove_asof", "unit/stores/lake/test_upkeep", "faults/test_rows",
    "faults/test_disk", "unit/training/test_memory", "jobs/test_compact_lake", "unit/asof/test_histories",
    "unit/simulate/test_simulate",
)  # fmt: skip
_FIRST = [name for names in (*LANES.values(), LONGEST) for name in names]
_LANE_OF = {name: lane for lane, names in LANES.items() for name in names}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(_FIRST)}
    items.sort(key=lambda item: places.get(_name_file(item.nodeid), len(places)))  # stable: the rest stays in its order


class Lanes(LoadScopeScheduling):  # type: ignore[misc]
    """Workers take lanes and files whole, in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        name = _name_file(nodeid)
        return _LANE_OF.get(name, name)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Lanes:
    return Lanes(config, log)


def _name_file(nodeid: str) -> str:
    """Return a test file's path below `tests`, without its suffix."""
    return nodeid.partition("::")[0].removeprefix("tests/").removesuffix(".py")


@pytest.fixture(scope="session")
def spark_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectServer]:
    """An embedded Connect server with Delta on a free port, with a state folder of its own.

    It computes as one does that nobody has configured. Its Java machine compiles as for small nights: no test lives
    long enough for more, which took half of the server's CPU time.
    """
    quick = {JAVA_OPTIONS_VARIABLE: SMALL_NIGHTS[JAVA_OPTIONS_VARIABLE]}
    with job_environment(quick), running_server(tmp_path_factory.mktemp("engine"), memory_mb=1536) as server:
        yield server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillableServer]:
    """One server for all tests that run jobs: for small nights, as the demo's; they may kill it and start it again."""
    with killable_server(tmp_path_factory.mktemp("jobs-engine")) as server:
        yield server


@pytest.fixture(scope="module")
def spark(spark_server: ConnectServer) -> "Iterator[SparkSession]":
    """A session of the module alone: views and settings of one module never reach another."""
    with open_session(spark_server.remote, str(uuid.uuid4())) as session:
        yield session


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """Start a PostgreSQL of its own on a Unix socket; yield the URL without a database name."""
    found = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), None)
    if found is None:
        pytest.skip("no PostgreSQL server is installed")
    binaries, user = Path(found).parent, "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix="nightloop-pg-"))
    as_user = ["runuser", "-u", user, "--"] if os.getuid() == 0 else []
    shutil.chown(folder, user)

    def call(program: str, *arguments: str) -> None:
        subprocess.run([*as_user, str(binaries / program), *arguments], check=True, capture_output=True, cwd=folder)

    data, log = str(folder / "data"), str(folder / "log")
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    call("initdb", "-D", data, "-U", user, "--auth=trust", "-E", "UTF8")
    call("pg_ctl", "-D", data, "-l", log, "-o", options, "-w", "start")
    try:
        yield f"postgresql+psycopg://{user}@/{{database}}?host={folder}"
    finally:
        call("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture
def postgresql_url(postgresql_server: str) -> str:
    """URL of an empty database of that server."""
    name = f"t{uuid.uuid4().hex}"
    admin = create_engine(postgresql_server.format(database="postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    return postgresql_server.format(database=name)
