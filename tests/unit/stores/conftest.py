"""Stores to test against: SQLite always, PostgreSQL where its server is installed."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from nightloop.stores import ledger, warehouse

BACKENDS = [
    pytest.param("sqlite", id="sqlite"),
    pytest.param("postgresql", id="postgresql", marks=pytest.mark.slow),
]


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
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database of the backend that the test is parametrised with; SQLite by default."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield f"sqlite:///{tmp_path}/store.db"
        return
    server = request.getfixturevalue("postgresql_server")
    name = f"t{abs(hash(request.node.nodeid)):x}"
    admin = create_engine(server.format(database="postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    yield server.format(database=name)


@pytest.fixture
def open_ledger(store_url: str) -> Iterator[ledger.Ledger]:
    ledger.migrate(store_url)
    opened = ledger.Ledger.open(store_url)
    yield opened
    opened.close()


@pytest.fixture
def open_warehouse(store_url: str) -> Iterator[warehouse.Warehouse]:
    warehouse.migrate(store_url)
    opened = warehouse.Warehouse.open(store_url)
    yield opened
    opened.close()
