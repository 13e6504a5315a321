"""Fixtures that every part of the suite may ask for."""

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, text

from nightloop.engine.server import JAVA_OPTIONS_VARIABLE, SMALL_NIGHTS, ConnectServer, running_server
from nightloop.engine.session import open_session
from tests.killable import KillableServer, killable_server
from tests.loop import job_environment

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


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
