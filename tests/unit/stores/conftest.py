"""Stores to test against: SQLite always, PostgreSQL where its server is installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nightloop.stores.ledger import ledger
from nightloop.stores.warehouse import warehouse

BACKENDS = [
    pytest.param("sqlite", id="sqlite"),
    pytest.param("postgresql", id="postgresql", marks=pytest.mark.slow),
]


@pytest.fixture
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database of the backend that the test is parametrised with; SQLite by default."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield f"sqlite:///{tmp_path}/store.db"
        return
    yield request.getfixturevalue("postgresql_url")


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
