"""Publishing replaces exactly its own nights, or nothing."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nightloop.dataset import DatasetRef
from nightloop.fault import FencedError, NightloopError
from nightloop.run import Replay, format_night
from nightloop.stores.lake.files import LakeFiles
from nightloop.stores.lake.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.slow
T = [datetime(2025, 1, day, tzinfo=UTC) for day in range(1, 5)]


@pytest.fixture
def lake(spark: "SparkSession", tmp_path: Path) -> Lake:
    return Lake(spark, str(tmp_path / "lake"))


def _frame(lake: Lake, *rows: tuple[int, datetime], columns: str = "n int") -> "DataFrame":
    full = [(n, format_night(night), "main") for n, night in rows]
    return lake.spark.createDataFrame(full, f"{columns}, night string, variant string")


def _replay(*nights: datetime) -> Replay:
    return Replay("loans", nights or (T[0],))


def _found(lake: Lake, ref: DatasetRef) -> list[int]:
    return sorted(row["n"] for row in lake.read(ref).collect())


def test_rerun_replaces_its_nights_and_no_other(lake: Lake) -> None:
    ref = DatasetRef("clean", "loans")
    lake.publish(_frame(lake, (1, T[0]), (2, T[1])), ref, _replay(*T[:2]), 1)
    before = lake.content_hash(ref, T[:2])
    commit = lake.publish(_frame(lake, (3, T[1]), (4, T[1])), ref, _replay(T[1]), 2)
    assert (_found(lake, ref), commit.rows) == ([1, 3, 4], 2)
    lake.publish(_frame(lake, (2, T[1])), ref, _replay(T[1]), 3)
    assert lake.content_hash(ref, T[:2]) == before
    assert [row["n"] for row in lake.read(ref, first=T[1], last=T[1]).collect()] == [2]


def test_lower_token_is_fenced_and_changes_nothing(lake: Lake) -> None:
    ref = DatasetRef("clean", "loans")
    lake.publish(_frame(lake, (1, T[0])), ref, _replay(), 5)
    with pytest.raises(FencedError, match="token 4"):
        lake.publish(_frame(lake, (2, T[0])), ref, _replay(), 4)
    assert _found(lake, ref) == [1]


def test_empty_frame_and_other_schemas_are_refused(lake: Lake) -> None:
    ref = DatasetRef("features", "loans", "v1")
    lake.publish(_frame(lake, (1, T[0])), ref, _replay(), 1)
    with pytest.raises(NightloopError, match="would delete"):
        lake.publish(_frame(lake, (1, T[0])).where("false"), ref, _replay(), 2)
    with pytest.raises(NightloopError, match="at most 1 rows"):
        lake.publish(_frame(lake, (1, T[0]), (1, T[0])), ref, _replay(), 2, expected=1)
    for frame in (
        _frame(lake, (1, T[0]), columns="m int"),
        _frame(lake, (1, T[0]), columns="n bigint"),
        _frame(lake, (1, T[0])).selectExpr("*", "1 AS more"),
    ):
        with pytest.raises(NightloopError, match="schema of features/loans/v1"):
            lake.publish(frame, ref, _replay(), 2)
    assert _found(lake, ref) == [1]


def test_an_empty_frame_empties_its_nights_only_where_it_is_expected(lake: Lake) -> None:
    ref = DatasetRef("quarantine", "loans")
    lake.publish(_frame(lake, (1, T[0]), (2, T[1])), ref, _replay(*T[:2]), 1)
    assert lake.holds(ref, _replay(T[1]))
    commit = lake.publish(_frame(lake, (2, T[1])).where("false"), ref, _replay(T[1]), 2, expected=0, is_counted=True)
    assert (_found(lake, ref), commit.rows) == ([1], 0)
    assert not lake.holds(ref, _replay(T[1]))


def test_table_may_gain_columns_where_allowed(lake: Lake) -> None:
    ref = DatasetRef("raw", "loans")
    lake.publish(_frame(lake, (1, T[0])), ref, _replay(), 1)
    wider = _frame(lake, (2, T[1])).selectExpr("'x' AS more", "*")
    lake.publish(wider, ref, _replay(T[1]), 2, may_add_columns=True)
    assert sorted((row["n"], row["more"]) for row in lake.read(ref).collect()) == [(1, None), (2, "x")]


def test_declared_widening_keeps_the_nights_before(lake: Lake) -> None:
    ref = DatasetRef("clean", "loans")
    lake.publish(_frame(lake, (1, T[0]), (2, T[1])), ref, _replay(*T[:2]), 1)
    large = _frame(lake, (5_000_000_000, T[1]), columns="n bigint")
    with pytest.raises(NightloopError, match="n int"):
        lake.publish(large, ref, _replay(T[1]), 2, may_add_columns=True)
    lake.publish(large, ref, _replay(T[1]), 3, may_widen=True)
    lake.publish(large, ref, _replay(T[1]), 4, may_widen=True)
    assert lake.read(ref).schema["n"].dataType.simpleString() == "bigint"
    assert _found(lake, ref) == [1, 5_000_000_000]
    assert len(LakeFiles(lake.root).table(ref).to_pyarrow_table()) == 2


def test_nights_published_at_once_into_a_new_table_all_stand(lake: Lake) -> None:
    ref = DatasetRef("scores", "loans")

    def publish(number: int) -> int:
        return lake.publish(_frame(lake, (number, T[number])), ref, _replay(T[number]), number + 1).version

    with ThreadPoolExecutor(4) as pool:
        versions = list(pool.map(publish, range(4)))
    assert _found(lake, ref) == [0, 1, 2, 3]
    assert len(set(versions)) == 4


def test_stage_is_read_back_and_dropped(lake: Lake) -> None:
    ref = DatasetRef("clean", "loans")
    staged = lake.stage(_frame(lake, (1, T[0])), ref, _replay(), 7)
    assert [row["n"] for row in staged.collect()] == [1]
    assert [(stage.dataset, stage.token) for stage in lake.stages()] == [("clean/loans", 7)]
    lake.drop_stage(ref, _replay(), 7)
    assert lake.stages() == []


def test_missing_table_is_a_clear_error(lake: Lake) -> None:
    with pytest.raises(NightloopError, match="clean/nobody"):
        lake.read(DatasetRef("clean", "nobody"))
