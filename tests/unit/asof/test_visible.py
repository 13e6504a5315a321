"""As-of views against a brute-force oracle, many random histories in each Spark run."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightloop.asof.params import SourceView
from nightloop.asof.visible import AsofSource, Bounds, Cutoff, scope_source
from nightloop.run import format_night

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TICKS = [datetime(2025, 1, day, 2, tzinfo=UTC) for day in range(1, 8)]
BOUNDS = Bounds("_decided", "_as_of", "_decided", TICKS[0], TICKS[-1])
LOOKBACKS = (1, 3, "unbounded")
SCHEMA = (
    "history int, record int, place string, value int, is_deleted boolean, "
    "known_at timestamp, known_by string, _file string, _row bigint, night string, variant string"
)


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
def histories(draw: st.DrawFn, count: int = 60) -> tuple[list[Version], list[Decision]]:
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
    return _monotone(versions), decisions


def _monotone(versions: list[Version]) -> list[Version]:
    """A record's later versions are never loaded by an earlier night."""
    kept, newest = [], {}
    for version in sorted(versions, key=lambda each: (each.known_at, each.row)):
        key = (version.history, version.record)
        night = newest[key] = max(newest.get(key, version.night), version.night)
        kept.append(Version(*[*vars(version).values()][:6], night, version.row))
    return kept


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


def _source(spark: "SparkSession", versions: list[Version], lookback: int | str) -> AsofSource:
    view = SourceView.model_validate(
        {
            "name": "events",
            "record_keys": ("history", "record"),
            "join": {"history": "_history", "place": "_place"},
            "lookback_days": lookback,
            "tombstone": "is_deleted",
        }
    )
    return AsofSource(view, spark.createDataFrame([version.to_row() for version in versions], SCHEMA))


def _scope(
    spark: "SparkSession", source: AsofSource, decisions: list[Decision], cutoff: Cutoff | None = None
) -> list[tuple[str, int, int]]:
    schema = "row_id string, _history int, _place string, _decided timestamp, _as_of timestamp"
    spine = spark.createDataFrame([decision.to_row() for decision in decisions], schema)
    rows = scope_source(source, spine, BOUNDS, source.view.join, cutoff).collect()
    return sorted((row["row_id"], row["record"], row["value"]) for row in rows)


@pytest.mark.slow
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=histories(), lookback=st.sampled_from(LOOKBACKS))
def test_scoped_view_equals_the_oracle_on_random_histories(
    spark: "SparkSession", data: tuple[list[Version], list[Decision]], lookback: int | str
) -> None:
    versions, decisions = data
    assert _scope(spark, _source(spark, versions, lookback), decisions) == sorted(
        _oracle(versions, decisions, lookback)
    )


@pytest.mark.slow
@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=histories(), lookback=st.sampled_from(LOOKBACKS))
def test_bulk_equals_night_by_night_without_the_future(
    spark: "SparkSession", data: tuple[list[Version], list[Decision]], lookback: int | str
) -> None:
    versions, decisions = data
    bulk = _scope(spark, _source(spark, versions, lookback), decisions)
    one_by_one = []
    for tick in TICKS[::3]:
        known = [version for version in versions if version.night <= tick]
        own = [decision for decision in decisions if decision.as_of == tick]
        one_by_one += _scope(spark, _source(spark, known, lookback), own)
    nights = {f"{each.history}-{each.number}" for each in decisions if each.as_of in TICKS[::3]}
    assert sorted(one_by_one) == [row for row in bulk if row[0] in nights]


@pytest.mark.slow
@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=histories(), lookback=st.sampled_from(LOOKBACKS))
def test_filter_of_one_cutoff_equals_the_join(
    spark: "SparkSession", data: tuple[list[Version], list[Decision]], lookback: int | str
) -> None:
    versions, decisions = data
    tick = TICKS[4]
    own = [Decision(each.history, each.number, each.place, tick, tick) for each in decisions]
    source = _source(spark, versions, lookback)
    assert _scope(spark, source, own, Cutoff(tick, tick)) == _scope(spark, source, own)


def test_latest_value_per_key_equals_merge_asof_of_pandas(spark: "SparkSession") -> None:
    versions = [
        Version(
            0, 0, "a", value, is_deleted=False, known_at=TICKS[0] + timedelta(hours=hours), night=TICKS[-1], row=value
        )
        for value, hours in enumerate((0, 5, 30, 31, 90))
    ]
    versions = [
        Version(*[*vars(each).values()][:6], next(t for t in TICKS if t >= each.known_at), each.row)
        for each in versions
    ]
    decisions = [Decision(0, number, "a", tick, tick) for number, tick in enumerate(TICKS)]
    left = pd.DataFrame({"decided": [each.decided for each in decisions]})
    right = pd.DataFrame({"known_at": [each.known_at for each in versions], "value": [each.value for each in versions]})
    expected = pd.merge_asof(left, right, left_on="decided", right_on="known_at")["value"].tolist()
    assert [value for _, _, value in _scope(spark, _source(spark, versions, "unbounded"), decisions)] == expected
