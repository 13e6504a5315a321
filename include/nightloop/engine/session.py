"""Open a Spark session that belongs to one attempt of one job, and end what earlier attempts left running."""

import contextlib
import logging
import os
import time
import uuid
import warnings
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from nightloop.engine.profile import session_conf, spark_conf
from nightloop.fault import TransientError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.connect.client import SparkConnectClient
    from pyspark.sql.connect.session import SparkSession as ConnectSession

log = logging.getLogger(__name__)

USER = "nightloop"
_NAMESPACE = uuid.UUID("6f0b6f2e-0d0e-5a53-9c57-8f0f9b2f6c11")  # any, but fixed: every process must derive the same id
_CONNECT_TRIES = 5
_JOB_TRIES = 8
_ENDING = "SPARK_CONNECT_ILLEGAL_STATE"
_ENDING_SECONDS = 30.0
_ENDING_POLL_SECONDS = 0.2
_ENDED = ("INVALID_HANDLE", "SESSION_NOT_FOUND", "SESSION_CLOSED")


def session_id(scope: str, job: str, token: int, drawn_wall: datetime) -> str:
    """Return the id of an attempt's session; anyone who reads the attempt in the ledger can interrupt it.

    The instant at which the token was drawn keeps apart what shares a server: two ledgers count their tokens alike,
    and so does a ledger restored from a backup, while a server never reopens a session that was closed.

    >>> from datetime import UTC
    >>> drawn = datetime(2025, 1, 5, 2, 0, 7, tzinfo=UTC)
    >>> session_id("taxi", "build_features", 7, drawn) == session_id("taxi", "build_features", 8, drawn)
    False
    """
    return str(uuid.uuid5(_NAMESPACE, f"{scope}/{job}/{token}/{drawn_wall.isoformat()}"))


@contextlib.contextmanager
def open_session(remote: str | None, session: str, stale: Sequence[str] = ()) -> "Iterator[SparkSession]":
    """Yield a session, stopped at the end whatever happens; without `remote` a classic one, as under `spark-submit`.

    The sessions in `stale` are interrupted and released first: a client that was killed leaves its operation running
    on the server, and its write would still commit.

    Raises:
        TransientError: the server does not answer.
    """
    if remote is None:
        classic = _open_classic()
        try:
            yield classic
        finally:
            classic.stop()
        return
    for other in stale:
        interrupt_session(remote, other)
    spark = _connect(remote, session)
    try:
        # within the block: an interrupt meanwhile must not leave the session open
        _configure(spark, remote)
        yield spark  # type: ignore[misc]
    finally:
        _close(spark)


def interrupt_session(remote: str | None, session: str) -> None:
    """Stop every operation of a session and release it; nothing happens where it ended before.

    Raises:
        TransientError: the server does not answer, so nobody can say whether the session still writes.
    """
    if remote is None:
        return
    from grpc import RpcError
    from pyspark.errors import PySparkException
    from pyspark.sql.connect.client import SparkConnectClient

    client = SparkConnectClient(_session_url(remote, session))
    try:
        _set_patience(client, tries=_CONNECT_TRIES)
        with _quiet_retries():
            client.interrupt_all()
            _release(client)
    except (PySparkException, RpcError) as error:
        if not any(mark in str(error) for mark in _ENDED):
            raise TransientError(f"could not interrupt the Spark session {session}: {error}") from error
    finally:
        client.close()


def _release(client: "SparkConnectClient") -> None:
    """Release a session; the server refuses until the operations that were interrupted have come to their end."""
    from pyspark.errors import PySparkException

    deadline = time.monotonic() + _ENDING_SECONDS
    while True:
        try:
            client.release_session()
        except PySparkException as error:
            if _ENDING not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_ENDING_POLL_SECONDS)
        else:
            return


def _connect(remote: str, session: str) -> "ConnectSession":
    from pyspark.sql.connect.session import SparkSession as ConnectSession

    # this builder does not set it, and without it pyspark.sql.functions look for a classic session
    os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"
    # it prints 12 kB of JSON for each error in SQL
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)
    return ConnectSession.builder.remote(_session_url(remote, session)).create()


def _configure(spark: "ConnectSession", remote: str) -> None:
    from grpc import RpcError
    from pyspark.errors import PySparkException

    _set_patience(spark.client, tries=_CONNECT_TRIES)
    try:
        with _quiet_retries():
            for key, value in session_conf().items():
                spark.conf.set(key, value)
    except (PySparkException, RpcError) as error:
        raise TransientError(f"no Spark session at {remote.partition('/;')[0]}: {error}") from error
    _set_patience(spark.client, tries=_JOB_TRIES)


def _close(spark: "ConnectSession") -> None:
    """Stop a session whose server may be gone; a session left open would keep the interpreter from ending."""
    _set_patience(spark.client, tries=1)
    with _quiet_retries():
        spark.stop()


def _open_classic() -> "SparkSession":
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("nightloop")
    is_submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    for key, value in spark_conf(is_submitted=is_submitted).items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def _session_url(remote: str, session: str) -> str:
    """Add session and user to a Connect URL."""
    address, _, parameters = remote.partition("/;")
    pairs = [pair for pair in parameters.split(";") if pair and not pair.startswith(("session_id=", "user_id="))]
    return f"{address.rstrip('/')}/;{';'.join([*pairs, f'user_id={USER}', f'session_id={session}'])}"


def _set_patience(client: "SparkConnectClient", tries: int) -> None:
    """Bound the client's retries: its own ten minutes would hide a dead server from the job that waits for it."""
    from pyspark.sql.connect.client.retries import DefaultPolicy

    client.set_retry_policies([DefaultPolicy(max_retries=tries, max_backoff=5_000, max_server_retry_delay=30_000)])


@contextlib.contextmanager
def _quiet_retries() -> Iterator[None]:
    """Leave out the client's warning that its retries are spent; the error that follows says it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\[RETRIES_EXCEEDED\]")
        yield
