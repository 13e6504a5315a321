"""Upkeep keeps a lake small for ever, and whoever works on it notices nothing."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction, write_deltalake

from nightloop.dataset import DatasetRef
from nightloop.fault import FencedError
from nightloop.run import Replay, RunKey, format_night
from nightloop.stores.lake.commit import Commit
from nightloop.stores.lake.files import LakeFiles
from nightloop.stores.lake.lake import Lake
from nightloop.stores.lake.sizes import TableSize, measure_lake
from nightloop.stores.lake.upkeep import Upkeep
from nightloop.stores.ledger.ledger import Ledger, migrate

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

FIRST = datetime(2025, 1, 1, 2, tzinfo=UTC)
NIGHTS = [FIRST + timedelta(days=number) for number in range(int(os.environ.get("NIGHTLOOP_UPKEEP_NIGHTS", "365")))]
EVERY, KEPT, LOGGED = 7, 60, 30  # days: between upkeeps, retention, Delta's own retention of its log
CHECKPOINT = 30  # commits between two, as `session_conf` says
REF = DatasetRef("scores", "loans")
_CHECK = "spark.databricks.delta.retentionDurationCheck.enabled"


@pytest.fixture
def lake(spark: "SparkSession", tmp_path: Path) -> Iterator[Lake]:
    """A lake whose vacuum may retain nothing: the tombstones of a test are never older than the test."""
    spark.conf.set(_CHECK, "false")
    yield Lake(spark, str(tmp_path / "lake"))
    spark.conf.unset(_CHECK)


def publish(lake: Lake, night: datetime, token: int, rows: int = 2) -> Commit:
    found = [(number, token, format_night(night), "main") for number in range(rows)]
    frame = lake.spark.createDataFrame(found, "n int, token int, night string, variant string")
    return lake.publish(frame, REF, Replay("loans", (night,)), token, expected=rows, is_counted=True)


def write_night(lake: Lake, night: datetime, token: int) -> None:
    """Commit a night; those that need no checkpoint by delta-rs, twenty times as fast, exactly as `publish` would."""
    if DeltaTable(lake.path(REF)).version() % CHECKPOINT == CHECKPOINT - 1:
        publish(lake, night, token)
        return
    columns = {"n": pa.array([0, 1], pa.int32()), "token": pa.array([token] * 2, pa.int32())}
    named = {"night": [format_night(night)] * 2, "variant": ["main"] * 2}
    write_deltalake(
        lake.path(REF),
        pa.table(columns | named),
        mode="overwrite",
        predicate=f"night = '{format_night(night)}' AND variant = 'main'",
        commit_properties=CommitProperties(app_transactions=[Transaction(f"{REF}@{RunKey('loans', night)}#1", token)]),
        post_commithook_properties=PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False),
    )


def append_fragments(lake: Lake, night: datetime, fragments: int) -> None:
    """Write a night in many files, as a large one without optimizeWrite would."""
    frame = lake.spark.createDataFrame([(format_night(night), "main")], "night string, variant string")
    many = frame.selectExpr("explode(sequence(1, 64)) AS n", "0 AS token", "night", "variant").repartition(fragments)
    many.write.format("delta").mode("append").partitionBy("night", "variant").save(lake.path(REF))


def pass_days(lake: Lake, days: int) -> None:
    """Let every file of the lake grow older."""
    for path in Path(lake.root).rglob("*"):
        if path.is_file():
            then = path.stat().st_mtime - days * 86_400
            os.utime(path, (then, then))


def found(lake: Lake, version: int | None = None) -> list[tuple[str, int, int]]:
    rows = DeltaTable(lake.path(REF), version=version).to_pyarrow_table().to_pylist()
    return sorted((row["night"], row["n"], row["token"]) for row in rows)


def test_files_of_a_year_of_nights_stay_bounded(lake: Lake) -> None:
    sizes: list[TableSize] = []
    publish(lake, NIGHTS[0], 1)
    for number, night in enumerate(NIGHTS):
        write_night(lake, night, 2 * number + 2)
        if number % 5 == 4:
            write_night(lake, NIGHTS[number - 1], 2 * number + 3)
        if number % EVERY == EVERY - 1:
            pass_days(lake, EVERY)
            upkeep = Upkeep(lake, retention_hours=0)
            upkeep.drop_nights(REF, night - timedelta(days=KEPT))
            upkeep.compact_table(REF, 8)
            upkeep.vacuum_table(REF)
            assert upkeep.failures == {}
            sizes += measure_lake(LakeFiles(lake.root))
    commits_a_day = 1 + 1 / 5 + 3 / EVERY  # a night, a fifth of the reruns, a deletion and the two lines of a vacuum
    entries = (LOGGED + EVERY + 1) * commits_a_day + 2 * CHECKPOINT
    for size in sizes:
        assert size.partitions <= KEPT + 1
        assert size.files <= size.partitions + 1, size
        assert size.stored_files <= 2 * size.files, size  # Hadoop writes a checksum beside each of its own
        assert size.log_files <= 4 * entries + 10, size  # an entry, its checksum, and Hadoop's of both
    kept = NIGHTS[-sizes[-1].partitions - len(NIGHTS) % EVERY :]
    first_rows = [row for row in found(lake) if row[1] == 0]
    assert first_rows == [(format_night(night), 0, last_token(night)) for night in kept]
    with pytest.raises(FencedError, match="token 1"):
        publish(lake, kept[0], 1)
    publish(lake, kept[0], 9999)
    assert found(lake)[0] == (format_night(kept[0]), 0, 9999)


def last_token(night: datetime) -> int:
    number = NIGHTS.index(night)
    return 2 * number + 5 if number % 5 == 3 and number + 1 < len(NIGHTS) else 2 * number + 2


def test_only_crowded_nights_are_compacted_and_no_row_changes(lake: Lake) -> None:
    publish(lake, NIGHTS[0], 1)
    append_fragments(lake, NIGHTS[1], 12)
    before, files = found(lake), set(DeltaTable(lake.path(REF)).file_uris())
    upkeep = Upkeep(lake, retention_hours=0)
    upkeep.compact_table(REF, 8)
    after = set(DeltaTable(lake.path(REF)).file_uris())
    assert found(lake) == before
    assert (len(files), len(after), len(files & after)) == (13, 2, 1)
    assert upkeep.counts["nights_compacted"] == 1
    upkeep.compact_table(REF, 8)
    assert set(DeltaTable(lake.path(REF)).file_uris()) == after


def test_a_reader_of_an_older_version_and_a_rerun_notice_nothing(lake: Lake) -> None:
    old = publish(lake, NIGHTS[0], 1)
    append_fragments(lake, NIGHTS[1], 12)
    publish(lake, NIGHTS[2], 2)
    open_version = DeltaTable(lake.path(REF)).version()
    seen, before = found(lake, open_version), found(lake, old.version)
    upkeep = Upkeep(lake, retention_hours=168)
    upkeep.drop_nights(REF, NIGHTS[1])
    upkeep.compact_table(REF, 8)
    upkeep.vacuum_table(REF)
    assert found(lake, open_version) == seen
    assert found(lake, old.version) == before
    with pytest.raises(FencedError, match="token 1"):
        publish(lake, NIGHTS[2], 1, rows=5)
    publish(lake, NIGHTS[2], 3)
    assert {(night, token) for night, _, token in found(lake)} == {
        (format_night(NIGHTS[1]), 0),
        (format_night(NIGHTS[2]), 3),
    }


def test_a_version_goes_only_when_nobody_wrote_it_within_the_retention(lake: Lake) -> None:
    publish(lake, NIGHTS[0], 1)
    upkeep = Upkeep(lake, retention_hours=1)
    upkeep.drop_table(REF)
    assert (lake.exists(REF), upkeep.counts["versions_dropped"]) == (True, 0)
    upkeep = Upkeep(lake, retention_hours=0)
    upkeep.drop_table(REF)
    assert (lake.exists(REF), lake.tables(), upkeep.counts["versions_dropped"]) == (False, [], 1)


def test_staging_goes_when_its_night_has_closed_or_nobody_touched_it(lake: Lake, tmp_path: Path) -> None:
    migrate(f"sqlite:///{tmp_path}/ledger.db")
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    frame = lake.spark.createDataFrame([(1,)], "n int")
    for number, night in enumerate(NIGHTS[:2]):
        lake.stage(frame, REF, Replay("loans", (night,)), number)
    closed = Replay("loans", (NIGHTS[0],))
    ledger.close_run(closed, ledger.draw_token(closed, "score_batch"))
    now = datetime.now(UTC)
    for hours, left in ((1, [0, 1]), (7, [1]), (49, [])):
        Upkeep(lake, 168).drop_stages(ledger, now + timedelta(hours=hours))
        assert [stage.token for stage in lake.stages()] == left
    ledger.close()


def test_what_delta_refuses_of_one_table_is_reported(lake: Lake) -> None:
    lake.spark.conf.set(_CHECK, "true")
    publish(lake, NIGHTS[0], 1)
    upkeep = Upkeep(lake, retention_hours=1)
    upkeep.vacuum_table(REF)
    assert "DELTA_VACUUM_RETENTION_PERIOD_TOO_SHORT" in upkeep.failures[f"failed:{REF}"]
    assert upkeep.counts["vacuumed"] == 0
