"""A session belongs to one attempt; what an earlier attempt left running can be ended from another process."""

import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import NoReturn

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.connect.session import SparkSession as ConnectSession

from nightloop.engine import session as session_module
from nightloop.engine.server import ConnectServer
from nightloop.engine.session import interrupt_session, open_session
from nightloop.fault import TransientError

SLOW_WRITER = """
import sys, time
from nightloop.engine.session import open_session

def crawl(batches):
    for batch in batches:
        time.sleep(6)
        yield batch

remote, session, path = sys.argv[1:]
with open_session(remote, session) as spark:
    frame = spark.range(0, 10, 1, 1).mapInArrow(crawl, "id long")
    print("writing", flush=True)
    frame.write.format("delta").save(path)
"""


def test_delta_round_trip_keeps_rows_and_partitions(spark: SparkSession, tmp_path: Path) -> None:
    path = str(tmp_path / "table")
    frame = spark.range(10).withColumn("night", F.concat(F.lit("n"), F.col("id") % 2))
    frame.write.format("delta").partitionBy("night").save(path)
    replacement = spark.range(3).withColumn("night", F.lit("n1"))
    replacement.write.format("delta").mode("overwrite").option("replaceWhere", "night = 'n1'").save(path)
    assert {
        row.night: row["count"] for row in spark.read.format("delta").load(path).groupBy("night").count().collect()
    } == {
        "n0": 5,
        "n1": 3,
    }


def test_session_states_utc_and_ansi(spark: SparkSession) -> None:
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    with pytest.raises(Exception, match="CAST_INVALID_INPUT"):
        spark.sql("select cast('x' as int)").collect()


def test_python_workers_of_the_server_import_nightloop(spark: SparkSession) -> None:
    def name_package(batches):  # type: ignore[no-untyped-def]
        import nightloop.run

        for batch in batches:
            assert nightloop.run.EXIT_OK == 0
            yield batch

    assert spark.range(3).mapInArrow(name_package, "id long").count() == 3


def test_killed_writer_never_commits_once_its_session_was_interrupted(
    spark: SparkSession, spark_server: ConnectServer, tmp_path: Path
) -> None:
    path, session = tmp_path / "table", str(uuid.uuid4())
    writer = subprocess.Popen(
        [sys.executable, "-c", SLOW_WRITER, spark_server.remote, session, str(path)], stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"writing\n"
    time.sleep(1.5)
    writer.kill()
    writer.wait()
    writer.stdout.close()
    with open_session(spark_server.remote, str(uuid.uuid4()), stale=[session]):
        time.sleep(7)
    assert not list(path.glob("_delta_log/*.json"))


def test_interrupting_a_session_twice_or_one_that_never_was_is_quiet(spark_server: ConnectServer) -> None:
    session = str(uuid.uuid4())
    interrupt_session(spark_server.remote, session)
    interrupt_session(spark_server.remote, session)


def test_stopped_session_is_not_opened_again(spark_server: ConnectServer) -> None:
    session = str(uuid.uuid4())
    with open_session(spark_server.remote, session):
        pass
    with pytest.raises(TransientError, match="SESSION_CLOSED"), open_session(spark_server.remote, session):
        pass


def test_an_interrupt_while_a_session_opens_leaves_none_open(
    spark_server: ConnectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One left open would keep the interpreter from ending, until its retries are spent."""
    monkeypatch.setattr(ConnectSession._active_session, "session", None)  # a session at work stays the active one
    opened: list[ConnectSession | None] = []

    def interrupt() -> NoReturn:
        opened.append(ConnectSession.getActiveSession())
        raise KeyboardInterrupt

    monkeypatch.setattr(session_module, "session_conf", interrupt)
    with pytest.raises(KeyboardInterrupt), open_session(spark_server.remote, str(uuid.uuid4())):
        pass
    assert [spark is not None and spark.is_stopped for spark in opened] == [True]


@pytest.mark.slow
def test_absent_server_is_a_transient_error() -> None:
    with pytest.raises(TransientError), open_session("sc://localhost:1", str(uuid.uuid4())):
        pass


def test_wrong_token_is_refused(spark_server: ConnectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_CONNECT_AUTHENTICATE_TOKEN", "wrong")
    with pytest.raises(TransientError), open_session(spark_server.remote, str(uuid.uuid4())):
        pass
