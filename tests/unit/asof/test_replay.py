"""Spine, features and labels of several nights: bulk equals night by night, and the future changes nothing."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from nightloop.asof.features import build_features
from nightloop.asof.labels import Cohort, build_labels, maturing_cohorts
from nightloop.asof.params import LabelParams, SourceView
from nightloop.asof.spine import build_spine, check_spine
from nightloop.asof.visible import AsofSource, Night
from nightloop.fault import NightloopError
from nightloop.run import format_night

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

DAY = timedelta(days=1)
TICKS = [datetime(2025, 1, day, tzinfo=UTC) for day in range(1, 6)]
NIGHTS = [Night(tick, tick - DAY) for tick in TICKS]
SPINE_SQL = "SELECT loan, as_of AS decision_time, as_of FROM loans_new"
FEATURES_SQL = """
SELECT spine.row_id, max(loans.amount) AS amount, count(payments.payment) AS payments, 'x' AS kind
FROM spine LEFT JOIN loans ON loans.row_id = spine.row_id LEFT JOIN payments ON payments.row_id = spine.row_id
GROUP BY spine.row_id
"""
LABEL_SQL = """
SELECT spine.row_id, max(amount) AS label, count(payments_after.payment) > 0 AS is_paid
FROM spine LEFT JOIN payments_after ON payments_after.row_id = spine.row_id GROUP BY spine.row_id
"""


def _known(at: datetime) -> tuple[object, ...]:
    night = next(tick for tick in [*TICKS, *(TICKS[-1] + DAY * n for n in range(1, 9))] if tick >= at)
    return at, "arrival", "f", int(at.timestamp()), format_night(night), "main"


def _sources(spark: "SparkSession", until: datetime | None = None) -> dict[str, AsofSource]:
    tail = "known_at timestamp, known_by string, _file string, _row bigint, night string, variant string"
    loans = [(f"L{n}", 100.0 * n, *_known(TICKS[0] + timedelta(hours=7 * n))) for n in range(1, 13)]
    loans.append(("L1", 5.0, *_known(TICKS[2] + timedelta(hours=1))))
    payments = [(f"L{1 + n % 6}", n, 10.0 + n, *_known(TICKS[0] + timedelta(hours=5 * n))) for n in range(1, 30)]
    frames = {
        "loans": (spark.createDataFrame(loans, f"loan string, amount double, {tail}"), ("loan",)),
        "payments": (spark.createDataFrame(payments, f"loan string, payment int, amount double, {tail}"), ("payment",)),
    }
    return {
        name: AsofSource(
            SourceView(name=name, record_keys=keys, join={"loan": "loan"}),
            rows if until is None else rows.where(rows["night"] <= format_night(until)),
        )
        for name, (rows, keys) in frames.items()
    }


def _replay(spark: "SparkSession", nights: list[Night], until: datetime | None = None) -> "DataFrame":
    sources = _sources(spark, until)
    spine = build_spine(sources, nights, ["loan"], SPINE_SQL, "main")
    figures = check_spine(spine, nights, ["loan"])
    return build_features(spine, figures, sources, FEATURES_SQL, ["amount", "payments"], ["kind"], ["loan"])


def _rows(frame: "DataFrame") -> list[tuple[object, ...]]:
    return sorted(tuple(row) for row in frame.collect())


@pytest.mark.slow
def test_bulk_replay_equals_its_nights_one_by_one_without_their_future(spark: "SparkSession") -> None:
    bulk = _replay(spark, NIGHTS)
    nights = [row for night in NIGHTS for row in _rows(_replay(spark, [night], until=night.as_of))]
    assert bulk.columns == ["row_id", "loan", "decision_time", "amount", "payments", "kind", "night", "variant"]
    assert _rows(bulk) == sorted(nights)
    assert len(nights) == 13


def test_correction_is_a_row_of_the_night_that_learned_it(spark: "SparkSession") -> None:
    found = {(row["loan"], row["night"]): row["amount"] for row in _replay(spark, NIGHTS).collect()}
    assert found["L1", "20250102T0000Z"] == 100.0
    assert found["L1", "20250104T0000Z"] == 5.0


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        pytest.param("SELECT loan, as_of FROM loans_new", "decision_time", id="no decision time"),
        pytest.param("SELECT loan, nobody AS decision_time FROM loans_new", "nobody", id="unknown column"),
        pytest.param(
            "SELECT loan, as_of + INTERVAL 1 HOUR AS decision_time, as_of FROM loans_new", "at or before", id="late"
        ),
        pytest.param(
            "SELECT loan, as_of AS decision_time, as_of FROM loans_new UNION ALL "
            "SELECT loan, as_of, as_of FROM loans_new",
            "one row per entity",
            id="a row twice",
        ),
    ],
)
def test_wrong_spine_is_refused(spark: "SparkSession", sql: str, expected: str) -> None:
    with pytest.raises(NightloopError, match=expected):
        check_spine(build_spine(_sources(spark), NIGHTS, ["loan"], sql, "main"), NIGHTS, ["loan"])


def test_labels_wait_for_their_cohort_and_see_only_the_horizon(spark: "SparkSession") -> None:
    params = LabelParams.model_validate({"horizon": "1 day", "settlement_days": 1, "observed_when": "is_paid"})
    cohorts = maturing_cohorts(TICKS, [TICKS[3]], params, lambda instant: instant)
    assert [cohort.as_of for cohort in cohorts] == [TICKS[1]]
    sources = _sources(spark)
    spine = build_spine(sources, [NIGHTS[1]], ["loan"], SPINE_SQL, "main")
    labels = build_labels(spine, cohorts, sources, LABEL_SQL, params, ["loan"], TICKS[1])
    found = {row["loan"]: row for row in labels.collect()}
    assert labels.columns == ["row_id", "loan", "decision_time", "cohort", "label", "is_observed", "night", "variant"]
    assert {(row["cohort"], row["night"]) for row in found.values()} == {("20250102T0000Z", "20250104T0000Z")}
    assert (found["L1"]["label"], found["L1"]["is_observed"]) == (16.0, True)
    assert set(found) == {"L1", "L2", "L3"}


def test_label_of_a_decision_long_before_its_night_sees_the_outcome(spark: "SparkSession") -> None:
    params = LabelParams.model_validate({"horizon": "1 day"})
    decided, as_of = TICKS[0], TICKS[0] + 60 * DAY
    night = format_night(decided + DAY)
    tail = "known_at timestamp, known_by string, _file string, _row bigint, night string, variant string"
    rows = spark.createDataFrame(
        [("L1", 7.0, decided + timedelta(hours=12), "arrival", "f", 1, night, "main")],
        f"loan string, amount double, {tail}",
    )
    view = SourceView(name="payments", record_keys=("loan",), join={"loan": "loan"}, lookback_days=1)
    spine = spark.createDataFrame(
        [("1", "L1", decided, format_night(as_of), "main")],
        "row_id string, loan string, decision_time timestamp, night string, variant string",
    )
    sql = "SELECT spine.row_id, amount AS label FROM spine JOIN payments_after USING (row_id)"
    cohorts = [Cohort(as_of, as_of + DAY)]
    labels = build_labels(spine, cohorts, {"payments": AsofSource(view, rows)}, sql, params, ["loan"], decided)
    assert [(row["label"], row["is_observed"]) for row in labels.collect()] == [(7.0, True)]


def test_history_that_declares_its_instants_is_known_before_it_was_loaded(spark: "SparkSession") -> None:
    tail = "known_at timestamp, known_by string, _file string, _row bigint, night string, variant string"
    rows = [
        (f"L{n}", TICKS[0] + DAY * n - timedelta(hours=1), "declared", "f", n, format_night(TICKS[4]), "main")
        for n in (1, 2)
    ]
    view = SourceView(name="loans", record_keys=("loan",), join={"loan": "loan"})
    source = AsofSource(view, spark.createDataFrame(rows, f"loan string, {tail}"), {format_night(TICKS[4]): TICKS[3]})
    spine = build_spine({"loans": source}, NIGHTS[:3], ["loan"], SPINE_SQL, "main")
    assert sorted((row["loan"], row["night"]) for row in spine.collect()) == [
        ("L1", "20250102T0000Z"),
        ("L2", "20250103T0000Z"),
    ]
