"""The records of one row, found without Spark, are those that its as-of view met."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightloop.asof.params import SourceView
from nightloop.asof.records import equals, select_records
from nightloop.run import format_night

COLUMNS = (
    "history", "record", "place", "value", "is_deleted", "known_at", "known_by", "_file", "_row", "night", "variant",
)  # fmt: skip


TICKS = [datetime(2025, 1, day, 2, tzinfo=UTC) for day in range(1, 8)]
LOOKBACKS = (1, 3, "unbounded")


@dataclass(frozen=True)
class Version:
    history: int
    record: int
    place: str
    value: int
    is_deleted: bool
    known_at: datetime
    night: datetime
    row: int

    def to_row(self) -> tuple[object, ...]:
        night = format_night(self.night)
        head = (self.history, self.record, self.place, self.value, self.is_deleted, self.known_at)
        return (*head, "arrival", "f", self.row, night, "main")


@dataclass(frozen=True)
class Decision:
    history: int
    number: int
    place: str
    decided: datetime
    as_of: datetime

    def to_row(self) -> tuple[object, ...]:
        return (f"{self.history}-{self.number}", self.history, self.place, self.decided, self.as_of)


@st.composite
def histories(draw: st.DrawFn, count: int) -> tuple[list[Version], list[Decision]]:
    versions, decisions = [], []
    hours = st.integers(0, 24 * 6)
    for history in range(count):
        for row in range(draw(st.integers(0, 8))):
            known_at = TICKS[0] + timedelta(hours=draw(hours)) - timedelta(minutes=draw(st.sampled_from([0, 30])))
            lag = draw(st.sampled_from([0, 0, 0, 1]))
            night = next(tick for tick in TICKS if tick >= known_at)
            night = TICKS[min(TICKS.index(night) + lag, len(TICKS) - 1)]
            record, place = draw(st.integers(0, 2)), draw(st.sampled_from("ab"))
            is_deleted = draw(st.integers(0, 4)) == 0
            versions.append(Version(history, record, place, row, is_deleted, known_at, night, row))
        for number in range(3):
            as_of = draw(st.sampled_from(TICKS))
            decided = as_of - timedelta(hours=draw(st.sampled_from([0, 0, 5, 23])))
            decisions.append(Decision(history, number, draw(st.sampled_from("ab")), decided, as_of))
    return versions, decisions


def _oracle(versions: list[Version], decisions: list[Decision], lookback: int | str) -> Iterator[tuple[str, int, int]]:
    for decision in decisions:
        last: dict[int, Version] = {}
        for version in sorted(versions, key=lambda each: (each.known_at, each.night, each.row)):
            is_known = version.known_at <= decision.decided and version.night <= decision.as_of
            if version.history == decision.history and is_known:
                last[version.record] = version
        for version in last.values():
            is_recent = lookback == "unbounded" or version.known_at > decision.decided - timedelta(days=int(lookback))
            if version.place == decision.place and not version.is_deleted and is_recent:
                yield f"{decision.history}-{decision.number}", version.record, version.value


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


@pytest.mark.parametrize(
    ("night", "expected"),
    [
        pytest.param(TICKS[3], [(0, 1)], id="declared as known before its night opened"),
        pytest.param(TICKS[1], [], id="of a night that had not come"),
    ],
)
def test_declared_history_counts_as_loaded_before_every_night(night: datetime, expected: list[tuple[int, int]]) -> None:
    known_at = TICKS[0] + timedelta(hours=1)
    declared = Version(0, 0, "a", 1, is_deleted=False, known_at=known_at, night=night, row=0)
    rows = table_of([declared]).set_column(6, "known_by", pa.array(["declared"]))
    decision = Decision(0, 0, "a", TICKS[0] + timedelta(hours=2), TICKS[0] + timedelta(hours=2))
    key = {"_history": pa.scalar(0), "_place": pa.scalar("a")}
    opened = {format_night(tick): TICKS[number - 1] for number, tick in enumerate(TICKS) if number}
    found = select_records(rows, view_of("unbounded"), key, decision.decided, decision.as_of, opened)
    assert list(zip(found.column("record").to_pylist(), found.column("value").to_pylist(), strict=True)) == expected
