"""A local lake has one writer at a time, and the next one takes over when it has ended."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nightloop.dataset import DatasetRef
from nightloop.engine.server import running_server
from nightloop.engine.session import open_session
from nightloop.fault import NightloopError
from nightloop.run import Replay, format_night
from nightloop.stores.lake.files import LakeFiles
from nightloop.stores.lake.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
NIGHT = datetime(2025, 1, 1, tzinfo=UTC)
REF = DatasetRef("clean", "loans")
PUBLISHED_EACH = 6


def publish(lake: Lake, number: int, token: int) -> None:
    night = datetime(2025, 1, 1 + number, tzinfo=UTC)
    rows = lake.spark.createDataFrame([(number, format_night(night), "main")], "n int, night string, variant string")
    lake.publish(rows, REF, Replay("loans", (night,)), token, expected=1, is_counted=True)


def test_of_two_servers_only_one_writes_and_no_commit_is_lost(spark: "SparkSession", tmp_path: Path) -> None:
    """Both publish at once, again and again: one server's writes all stand, the other one's are all refused."""
    root = str(tmp_path / "lake")
    outcomes: dict[str, list[str]] = {"first": [], "second": []}

    def write(name: str, session: "SparkSession", offset: int) -> None:
        for number in range(PUBLISHED_EACH):
            try:
                publish(Lake(session, root), offset + number, 1 + number)
            except NightloopError as error:
                outcomes[name].append(str(error))

    with (
        running_server(tmp_path / "other", memory_mb=1024) as other,
        open_session(other.remote, str(uuid.uuid4())) as second,
        ThreadPoolExecutor(2) as pool,
    ):
        list(pool.map(write, ("first", "second"), (spark, second), (0, PUBLISHED_EACH)))
    refused = {name: len(errors) for name, errors in outcomes.items()}
    assert sorted(refused.values()) == [0, PUBLISHED_EACH], outcomes
    assert LakeFiles(root).table(REF).to_pyarrow_table().num_rows == PUBLISHED_EACH
    loser = next(name for name, number in refused.items() if number)
    assert "point SPARK_REMOTE to that server" in outcomes[loser][0]


def test_the_next_server_takes_over_when_the_writer_was_killed(spark: "SparkSession", tmp_path: Path) -> None:
    root, folder = tmp_path / "lake", tmp_path / "first"
    with running_server(folder, memory_mb=1024) as first:
        with open_session(first.remote, str(uuid.uuid4())) as session:
            publish(Lake(session, str(root)), 0, 1)
        with pytest.raises(NightloopError, match="one Spark driver"):
            publish(Lake(spark, str(root)), 1, 2)
    publish(Lake(spark, str(root)), 1, 3)
    assert Lake(spark, str(root)).read(REF).count() == 2
