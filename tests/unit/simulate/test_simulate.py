"""Files of the simulated worlds, as a bank or a dispatcher would drop them."""

import csv
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nightloop.fault import NightloopError
from nightloop.folders.loading import load_source, load_use_case
from nightloop.folders.schedule import ticks
from nightloop.folders.use_case import UseCase
from nightloop.run import format_night
from nightloop.settings import CHECKOUT
from nightloop.simulate.params import Drift, FaultParams
from nightloop.simulate.world import SimulationReport, simulate

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow
FOLDERS = (CHECKOUT / "include",)
TAXI_NIGHTS = [datetime(2025, 1, day, 2, tzinfo=UTC) for day in range(5, 10)]
LOAN_NIGHTS = ticks("0 2 1 * *", datetime(2021, 1, 1, tzinfo=UTC), datetime(2022, 4, 2, tzinfo=UTC))


def load(name: str) -> UseCase:
    return load_use_case(name, FOLDERS)


def read_rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def read_folder(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.csv"))}


@pytest.fixture(scope="module")
def taxi(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SimulationReport]:
    landing = tmp_path_factory.mktemp("taxi")
    return landing, simulate(load("taxi_duration"), spark, landing, TAXI_NIGHTS, 2_000, seed=3)


@pytest.fixture(scope="module")
def loans(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SimulationReport]:
    landing = tmp_path_factory.mktemp("loans")
    return landing, simulate(load("loan_default"), spark, landing, LOAN_NIGHTS, 1_000, seed=3)


def test_one_night_alone_equals_it_among_others(
    spark: "SparkSession", tmp_path: Path, taxi: tuple[Path, SimulationReport]
) -> None:
    simulate(load("taxi_duration"), spark, tmp_path, [TAXI_NIGHTS[2]], 2_000, seed=3)
    alone = read_folder(tmp_path)
    among = read_folder(taxi[0])
    assert len(alone) >= 3
    assert {name: among[name] for name in alone} == alone


def test_another_seed_is_another_world(
    spark: "SparkSession", tmp_path: Path, taxi: tuple[Path, SimulationReport]
) -> None:
    simulate(load("taxi_duration"), spark, tmp_path, TAXI_NIGHTS[:1], 2_000, seed=4)
    name = f"trips/{format_night(TAXI_NIGHTS[0])}.csv"
    assert (tmp_path / name).read_bytes() != (taxi[0] / name).read_bytes()


@pytest.mark.parametrize("name", ["taxi", "loans"])
def test_report_counts_what_the_files_hold(name: str, request: pytest.FixtureRequest) -> None:
    landing, report = request.getfixturevalue(name)
    assert {night.source for night in report.nights} == {folder.name for folder in landing.iterdir()}
    for night in report.nights:
        source = load_source(night.source, FOLDERS)
        lines: list[str] = []
        for stem in night.files:
            head, *rows = (landing / night.source / f"{stem}.csv").read_text().splitlines()
            assert set(head.split(",")) == set(source.columns)
            lines.extend(rows)
        assert len(lines) == night.rows
        assert sum(line.startswith("#") for line in lines) == night.bad["malformed"]
        assert sum(line.startswith(",") for line in lines) == night.bad["missing_key"] or night.source != "trips"
        assert sum(count - 1 for count in Counter(lines).values()) == night.duplicates


def test_every_kind_of_fault_occurs(taxi: tuple[Path, SimulationReport]) -> None:
    night = taxi[1].of("trips", TAXI_NIGHTS[1])
    assert all(night.bad.values())
    assert night.duplicates
    assert night.corrected
    assert night.tombstones
    assert night.quarantined == sum(night.bad.values())


def test_files_are_dated_with_their_arrival(taxi: tuple[Path, SimulationReport]) -> None:
    landing, report = taxi
    for night in report.nights:
        for stem in night.files:
            arrived = datetime.fromtimestamp((landing / night.source / f"{stem}.csv").stat().st_mtime, UTC)
            assert arrived <= night.as_of
            assert (night.as_of - arrived).total_seconds() < 86_400
    assert report.total("trip_completions", "late_files") >= 1
    assert not list(landing.glob(".*"))


def test_every_trip_but_cancelled_and_late_ones_ends_before_the_next_night(taxi: tuple[Path, SimulationReport]) -> None:
    landing, _ = taxi
    stem = format_night(TAXI_NIGHTS[1])
    limit = TAXI_NIGHTS[1].replace(tzinfo=None).isoformat(sep=" ")
    before = TAXI_NIGHTS[0].replace(tzinfo=None).isoformat(sep=" ")
    for row in read_rows(landing / "trip_completions" / f"{stem}.csv"):
        if row["pickup_datetime"] and not row["dropoff_datetime"].startswith("2000") and row["fare_amount"] != "3.0":
            assert before < row["pickup_datetime"] < row["dropoff_datetime"] < limit


def test_labels_follow_the_loan_through_its_year(loans: tuple[Path, SimulationReport]) -> None:
    landing, _ = loans
    first = {
        row["application_id"]
        for row in read_rows(landing / "loan_applications" / f"{format_night(LOAN_NIGHTS[0])}.csv")
        if row["applied_at"]
    }
    events = [
        row
        for night in LOAN_NIGHTS
        for row in read_rows(landing / "repayments" / f"{format_night(night)}.csv")
        if row["application_id"] in first
    ]
    statuses = Counter(row["status"] for row in events)
    granted, cancelled = statuses["granted"], statuses["cancelled"]
    defaulted = {row["application_id"] for row in events if int(row["days_past_due"] or 0) >= 90}
    assert 0.7 < granted / len(first) < 0.98
    assert 0 < cancelled < 0.1 * granted
    assert 0.05 < len(defaulted) / granted < 0.2
    assert max(row["status_date"] for row in events) == "2021-12-31"


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        pytest.param("covariate", "trips", id="covariate"),
        pytest.param("prior", "trips", id="prior"),
        pytest.param("concept", "trip_completions", id="concept"),
        pytest.param("broken_feed", "trips", id="broken feed"),
    ],
)
def test_drift_begins_on_its_night_and_touches_its_source_only(
    spark: "SparkSession", tmp_path: Path, taxi: tuple[Path, SimulationReport], kind: str, source: str
) -> None:
    drift = Drift.parse(f"{kind}@{TAXI_NIGHTS[3]:%Y-%m-%d}")
    simulate(load("taxi_duration"), spark, tmp_path, TAXI_NIGHTS, 2_000, seed=3, drifts=[drift])
    drifted, quiet = read_folder(tmp_path), read_folder(taxi[0])
    changed = {name for name in quiet if drifted[name] != quiet[name]}
    assert f"{source}/{format_night(TAXI_NIGHTS[4 if source == 'trip_completions' else 3])}.csv" in changed
    assert not {name for name in changed if name.split("/")[1] < format_night(TAXI_NIGHTS[3])}
    if kind == "concept":
        assert not {name for name in changed if name.startswith("trips/")}


def test_a_gradual_drift_grows() -> None:
    drift = Drift(kind="prior", at=TAXI_NIGHTS[0], shape="gradual", ramp_nights=4)
    assert [drift.strength(night) for night in range(6)] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


def test_new_kind_of_loan_appears_with_the_drift(spark: "SparkSession", tmp_path: Path) -> None:
    nights = LOAN_NIGHTS[:4]
    drift = Drift(kind="covariate", at=nights[2])
    simulate(load("loan_default"), spark, tmp_path, nights, 500, drifts=[drift], faults=FaultParams.none())
    shares = []
    for night in nights:
        rows = read_rows(tmp_path / "loan_applications" / f"{format_night(night)}.csv")
        shares.append(sum(row["product"] == "instalment_60" for row in rows) / len(rows))
    assert shares[:2] == [0, 0]
    assert min(shares[2:]) > 0.3


def test_world_without_faults_has_none(spark: "SparkSession", tmp_path: Path) -> None:
    report = simulate(load("taxi_duration"), spark, tmp_path, TAXI_NIGHTS[:2], 500, faults=FaultParams.none())
    assert {night.quarantined + night.duplicates + night.late_files for night in report.nights} == {0}


def test_unknown_use_case_is_refused(spark: "SparkSession", tmp_path: Path) -> None:
    other = load("taxi_duration").model_copy(update={"name": "somebody_elses"})
    with pytest.raises(NightloopError, match="loan_default, taxi_duration"):
        simulate(other, spark, tmp_path, TAXI_NIGHTS, 100)
