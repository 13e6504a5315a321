"""Fixtures that every part of the suite may ask for."""

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from nightloop.engine.server import ConnectServer, running_server
from nightloop.engine.session import open_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectServer]:
    """An embedded Connect server with Delta on a free port, with a state folder of its own."""
    with running_server(tmp_path_factory.mktemp("engine"), memory_mb=1536) as server:
        yield server


@pytest.fixture(scope="module")
def spark(spark_server: ConnectServer) -> "Iterator[SparkSession]":
    """A session of the module alone: views and settings of one module never reach another."""
    with open_session(spark_server.remote, str(uuid.uuid4())) as session:
        yield session
