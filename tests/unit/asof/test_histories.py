"""As-of features of at least 200 random histories against brute force and `pandas.merge_asof`, and night by night."""

import random
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from nightloop.asof.features import build_features
from nightloop.asof.params import SourceView
from nightloop.asof.proof import delete_future
from nightloop.asof.spine import build_spine, check_spine
from nightloop.asof.visible import AsofSource, Night
from nightloop.etl.contract import FileSchema
from nightloop.etl.params import Column, KnownAt, ReadParams
from nightloop.etl.read import RawFile, read_files
from nightloop.run import format_night
from tests.unit.asof.histories import FIRST, FORECAST_NIGHTS, LOOKBACK_DAYS, NIGHTS, STEP, Decision, Histories, Version

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

HISTORIES = 120  # in each of two examples
ALONE = 2  # nights of each example that are built alone as well
ENTITY = ["history", "number"]
KEYS = {"profiles": ("history", "place"), "payments": ("history", "key"), "weather": ("history", "place", "hour")}
JOINS = {
    "profiles": {"history": "history", "place": "place"},
    "payments": {"history": "history", "place": "place"},
    "weather": {"history": "history", "place": "place", "hour": "hour"},
}
SPINE_SQL = "SELECT history, number, place, hour, decided AS decision_time, as_of FROM decisions_new"
FEATURES_SQL = """
SELECT spine.row_id, first(profiles.value) AS profile, first(weather.value) AS weather, sum(payments.value) AS paid,
  array_join(sort_array(collect_list(concat(payments.key, payments.value))), ' ') AS payments
FROM spine LEFT JOIN profiles ON profiles.row_id = spine.row_id LEFT JOIN weather ON weather.row_id = spine.row_id
LEFT JOIN payments ON payments.row_id = spine.row_id
GROUP BY spine.row_id
"""
# asks the views, not the versions
BY_SUBQUERY_SQL = re.sub(r"JOIN (\w+) ON", r"JOIN (SELECT * FROM \1) AS \1 ON", FEATURES_SQL)
NUMERIC, CATEGORICAL = ["profile", "weather", "paid"], ["payments"]
WEATHER = ReadParams(
    format="csv",
    columns={name: Column(type="string") for name in ("history", "place", "hour", "value", "exists_from", "day")},
    known_at=KnownAt(by="column", column="day", truncated_to="month"),
)

OPENED = {
    format_night(night): before for night, before in zip(FORECAST_NIGHTS, (FIRST, *FORECAST_NIGHTS), strict=False)
}

Found = Mapping[tuple[int, int], tuple[Any, ...]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at_night", "lookback"),
    [
        pytest.param(True, {}, id="decided at the night, everything counts"),
        pytest.param(False, {}, id="decided before the night, everything counts"),
        pytest.param(False, LOOKBACK_DAYS, id="decided before the night, with lookback"),
    ],
)
@settings(max_examples=2, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**40))
def test_features_of_random_histories(
    spark: "SparkSession",
    tmp_path_factory: pytest.TempPathFactory,
    at_night: bool,
    lookback: Mapping[str, int],
    seed: int,
) -> None:
    histories = Histories.draw(range(seed, seed + HISTORIES), at_night=at_night)
    sources = _write(spark, histories, tmp_path_factory.mktemp("histories"))
    bulk = _build(sources, NIGHTS, lookback)
    expected = {_name(each): _expect(histories, each, lookback) for each in histories.decisions}
    _assert_equal(bulk, expected, histories, "by brute force")
    by_views = _build(sources, NIGHTS, lookback, BY_SUBQUERY_SQL)
    _assert_equal(by_views, bulk, histories, "by the views, and by joins with the versions")
    for name, value in _merge_asof(histories, lookback).items():
        assert bulk[name][0] == value, f"profile of {name} by pandas.merge_asof\n{histories.of_history(name[0])}"
    for night in random.Random(seed).sample(NIGHTS, ALONE):
        alone = _build({name: _delete_future(rows, night) for name, rows in sources.items()}, [night], lookback)
        own = {_name(each): bulk[_name(each)] for each in histories.decisions if each.as_of == night}
        _assert_equal(alone, own, histories, f"in bulk, and alone in the night {night:%F}")
        _assert_past(sources["weather"], night)


def _assert_equal(found: Found, expected: Found, histories: Histories, where: str) -> None:
    assert set(found) == set(expected)
    differing = sorted(name for name, row in expected.items() if found[name] != row)
    if differing:
        lines = [f"decision {name}: {found[name]}, expected {expected[name]}" for name in differing[:5]]
        pytest.fail("\n".join([f"{len(differing)} differ, {where}", *lines, histories.of_history(differing[0][0])]))


def _assert_past(rows: "DataFrame", night: datetime) -> None:
    """Pass if the proof's idea of what a night could know is that of the histories."""
    ticks = (FIRST, *FORECAST_NIGHTS, FORECAST_NIGHTS[-1] + STEP)
    last_tick, next_tick = max(tick for tick in ticks if tick <= night), min(tick for tick in ticks if tick > night)
    view = SourceView(name="weather", record_keys=KEYS["weather"], join=JOINS["weather"])
    past = delete_future(AsofSource(view, rows, OPENED), night, last_tick, next_tick).rows
    found, expected = (
        sorted((row["_file"], row["_row"]) for row in frame.collect()) for frame in (past, _delete_future(rows, night))
    )
    assert found == expected


def _name(decision: Decision) -> tuple[int, int]:
    return decision.history, decision.number


def _expect(histories: Histories, decision: Decision, lookback: Mapping[str, int]) -> tuple[Any, ...]:
    seen = {name: list(histories.visible(name, decision, lookback)) for name in KEYS}
    profile, weather = (next((row.value for row in seen[name]), None) for name in ("profiles", "weather"))
    payments = seen["payments"]
    paid = sum(row.value for row in payments) if payments else None
    return profile, weather, paid, " ".join(sorted(f"{row.key}{row.value}" for row in payments))


def _merge_asof(histories: Histories, lookback: Mapping[str, int]) -> dict[tuple[int, int], float | None]:
    """Return the profile of each decision as pandas joins it: there the two mean the same."""
    decisions = pd.DataFrame([vars(each) for each in histories.decisions]).sort_values("decided")
    versions = pd.DataFrame([vars(each) for each in histories.versions["profiles"]])
    versions = versions.sort_values(["known_at", "night", "row"])[["history", "place", "known_at", "value"]]
    tolerance = timedelta(days=lookback["profiles"], microseconds=-1) if lookback else None
    asof = {"left_on": "decided", "right_on": "known_at", "by": ["history", "place"], "tolerance": tolerance}
    merged = pd.merge_asof(decisions, versions, **asof)
    values = (None if pd.isna(value) else value for value in merged["value"])
    return dict(zip(zip(merged["history"], merged["number"], strict=True), values, strict=True))


def _build(
    sources: Mapping[str, "DataFrame"], nights: list[datetime], lookback: Mapping[str, int], sql: str = FEATURES_SQL
) -> Found:
    opening = {
        name: AsofSource(
            SourceView(
                name=name,
                record_keys=KEYS.get(name, ("history", "number")),
                join=JOINS.get(name, {}),
                lookback_days=lookback.get(name, "unbounded"),
                tombstone="is_deleted" if name == "payments" else None,
            ),
            rows.drop("exists_from"),
            OPENED if name == "weather" else None,
        )
        for name, rows in sources.items()
    }
    replayed = [Night(night, night - STEP) for night in nights]
    spine = build_spine({"decisions": opening["decisions"]}, replayed, ENTITY, SPINE_SQL, "main")
    figures = check_spine(spine, replayed, ENTITY)
    joined = {name: opening[name] for name in KEYS}
    built = build_features(spine, figures, joined, sql, NUMERIC, CATEGORICAL, ENTITY)
    return {
        (row["history"], row["number"]): tuple(row[name] for name in (*NUMERIC, *CATEGORICAL))
        for row in built.collect()
    }


def _delete_future(rows: "DataFrame", night: datetime) -> "DataFrame":
    return rows.where((rows["exists_from"] <= night) & (rows["known_at"] <= night))


def _write(spark: "SparkSession", histories: Histories, folder: Path) -> dict[str, "DataFrame"]:
    """Write the clean tables; the weather is read from files, so that its `known_at` is what `etl` makes of them."""
    decisions = pd.DataFrame([vars(each) for each in histories.decisions])
    decisions = decisions.assign(known_at=decisions["as_of"], night=decisions["as_of"], row=range(len(decisions)))
    frames = {"decisions": decisions.assign(exists_from=decisions["as_of"]).drop(columns="as_of")}
    for name in ("profiles", "payments"):
        rows = [{**vars(each), "exists_from": each.exists_from} for each in histories.versions[name]]
        frames[name] = pd.DataFrame(rows).drop(columns=["source", "loaded", "declared", "known_by"])
    written = {}
    for name, frame in frames.items():
        path = str(folder / f"{name}.parquet")
        named = frame.assign(night=frame["night"].map(format_night), variant="main", known_by="arrival", _file="f")
        named.rename(columns={"row": "_row"}).to_parquet(path, coerce_timestamps="us", index=False)
        written[name] = spark.read.parquet(path)
    written["weather"] = _read_weather(spark, histories.versions["weather"], folder)
    return written


def _read_weather(spark: "SparkSession", versions: list[Version], folder: Path) -> "DataFrame":
    files: dict[tuple[datetime, datetime, str], list[Version]] = {}
    for version in versions:
        files.setdefault((version.night, version.file_known_at, version.file_known_by), []).append(version)
    raw = []
    for number, ((night, known_at, known_by), rows) in enumerate(sorted(files.items())):
        path = str(folder / f"{number}.csv")
        frame = pd.DataFrame(
            [{**vars(row), "exists_from": row.exists_from, "day": f"{row.declared:%F}"} for row in rows]
        )
        frame[list(WEATHER.columns)].to_csv(path, index=False)
        schema = FileSchema(path, tuple(WEATHER.columns))
        raw.append(RawFile(path, path, str(number), night, night, known_at, known_by, schema))
    typed = {"history": "int", "hour": "int", "value": "int", "exists_from": "timestamp"}
    read = read_files(spark, raw, "main", WEATHER)
    own = [read[name].cast(typed.get(name, "string")).alias(name) for name in WEATHER.columns]
    return read.select(*own, "known_at", "known_by", "_file", "_row", "night", "variant")
