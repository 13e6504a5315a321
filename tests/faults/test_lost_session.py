"""A newer attempt ends the session of an older one, at any moment: no folder and no file is blamed for it."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyspark.errors import PySparkException

from nightloop.asof.views import run_sql
from nightloop.engine.server import ConnectServer
from nightloop.engine.session import interrupt_session, open_session
from nightloop.etl.contract import FileSchema
from nightloop.etl.params import Column, ReadParams
from nightloop.etl.read import RawFile
from nightloop.etl.unreadable import naming_unreadable
from nightloop.fault import NightloopError, TransientError, is_lost
from nightloop.job.unforeseen import explain_ending
from nightloop.quality.judge import judge
from nightloop.quality.params import Suite
from nightloop.run import EXIT_TRANSIENT, RunKey

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NIGHT = datetime(2025, 1, 2, tzinfo=UTC)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@contextmanager
def _session_to_lose(server: ConnectServer) -> "Iterator[tuple[SparkSession, str]]":
    session = str(uuid.uuid4())
    with open_session(server.remote, session) as spark:
        yield spark, session


def test_a_query_is_not_blamed(spark_server: ConnectServer, tmp_path: Path) -> None:
    with _session_to_lose(spark_server) as (spark, session):
        rows = spark.range(3)
        for wrong in ("SELECT nothing FROM raw", "SELECT UNAVAILABLE FROM raw", "SELECT 'SESSION_CLOSED' FRM raw"):
            with pytest.raises(NightloopError, match="correct the query"):
                run_sql(wrong, {"raw": rows}, "clean.sql")
        interrupt_session(spark_server.remote, session)
        with pytest.raises(PySparkException) as lost:
            run_sql("SELECT id FROM raw", {"raw": rows}, "clean.sql")
    assert is_lost(lost.value)
    assert explain_ending(lost.value, str(tmp_path)) == EXIT_TRANSIENT


def test_an_operation_that_was_stopped_is_tried_again(tmp_path: Path) -> None:
    stopped = PySparkException("[OPERATION_CANCELED] Operation has been canceled. SQLSTATE: HY008")
    assert explain_ending(stopped, str(tmp_path)) == EXIT_TRANSIENT


def test_a_suite_is_not_blamed(spark_server: ConnectServer) -> None:
    known = {"expect": "expect_column_values_to_not_be_null", "severity": "fail", "kwargs": {"column": "id"}}
    suite = Suite.model_validate({"expectations": [known]})
    with _session_to_lose(spark_server) as (spark, session):
        rows = spark.range(3)
        assert rows.columns == ["id"]
        interrupt_session(spark_server.remote, session)
        with pytest.raises(TransientError, match="SESSION_CLOSED"):
            judge(rows, suite, "clean/loans", RunKey("loans", NIGHT))


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_a_file_is_blamed_for_its_own_faults_alone(
    spark_server: ConnectServer, tmp_path: Path, *, is_interrupted: bool
) -> None:
    path = tmp_path / "cut.parquet"
    path.write_bytes(b"PAR1 and no more")
    schema = FileSchema(path.name, ("id",), ("bigint",))
    file = RawFile(str(path), path.name, path.name, NIGHT, NIGHT, NIGHT, "declared", schema)
    params = ReadParams(format="parquet", columns={"id": Column(type="bigint")})
    with _session_to_lose(spark_server) as (spark, session):

        def read() -> None:
            try:
                spark.read.schema("id bigint").parquet(str(path)).collect()
            finally:
                if is_interrupted:
                    interrupt_session(spark_server.remote, session)

        expected = PySparkException if is_interrupted else NightloopError
        with pytest.raises(expected) as raised, naming_unreadable(spark, [file], "main", params):
            read()
    assert is_lost(raised.value) == is_interrupted
