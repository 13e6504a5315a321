"""The records of one row, found without Spark, are those that its as-of view met."""

from datetime import timedelta

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightloop.asof.params import SourceView
from nightloop.asof.records import equals, select_records
from tests.unit.asof.test_visible import LOOKBACKS, TICKS, Decision, Version, _oracle, histories

COLUMNS = (
    "history", "record", "place", "value", "is_deleted", "known_at", "known_by", "_file", "_row", "night", "variant",
)  # fmt: skip


def view_of(lookback: int | str, tombstone: str | None = "is_deleted") -> SourceView:
    join = {"history": "_history", "place": "_place"}
    keys = ("history", "record")
    return SourceView(name="events", record_keys=keys, join=join, lookback_days=lookback, tombstone=tombstone)


def table_of(versions: list[Version]) -> pa.Table:
    columns = list(zip(*(version.to_row() for version in versions), strict=True)) or [()] * len(COLUMNS)
    types = {"known_at": pa.timestamp("us", "UTC"), "_row": pa.int64()}
    return pa.table({name: pa.array(found, types.get(name)) for name, found in zip(COLUMNS, columns, strict=True)})


def met(versions: list[Version], decision: Decision, view: SourceView) -> list[tuple[int, int]]:
    key = {"_history": pa.scalar(decision.history), "_place": pa.scalar(decision.place)}
    rows = select_records(table_of(versions), view, key, decision.decided, decision.as_of)
    return sorted(zip(rows.column("record").to_pylist(), rows.column("value").to_pylist(), strict=True))


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=histories(count=20), lookback=st.sampled_from(LOOKBACKS))
def test_records_equal_the_oracle_of_the_view(data: tuple[list[Version], list[Decision]], lookback: int | str) -> None:
    versions, decisions = data
    for decision in decisions:
        own = [version for version in versions if version.history == decision.history]
        if own:
            expected = sorted((record, value) for _, record, value in _oracle(own, [decision], lookback))
            assert met(own, decision, view_of(lookback)) == expected


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        pytest.param(pa.array([7, 8]), pa.scalar(7.0), [True, False], id="an id that became a numeric feature"),
        pytest.param(pa.array([7, 8]), pa.scalar("8"), [False, True], id="an id that became a category"),
        pytest.param(
            pa.array([TICKS[0], TICKS[1]], pa.timestamp("ns", "UTC")),
            pa.scalar(TICKS[1], pa.timestamp("us", "UTC")),
            [False, True],
            id="instants of other units",
        ),
    ],
)
def test_keys_are_compared_by_value(column: pa.Array, value: pa.Scalar, expected: list[bool]) -> None:
    assert equals(pa.chunked_array([column]), value).to_pylist() == expected


def test_a_condition_that_only_spark_understands_keeps_its_record() -> None:
    deleted = Version(0, 0, "a", 1, is_deleted=True, known_at=TICKS[0], night=TICKS[0], row=0)
    decision = Decision(0, 0, "a", TICKS[0] + timedelta(hours=1), TICKS[1])
    assert met([deleted], decision, view_of("unbounded")) == []
    assert met([deleted], decision, view_of("unbounded", "xxhash64(value) % 7 = bit_count(value)")) == [(0, 1)]
