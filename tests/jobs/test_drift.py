"""The drift jobs on a real ledger, warehouse and lake: profiles in, verdicts, requests and reports out."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jobs.decide_retraining import decide_retraining
from jobs.profile_partition import profile_partition
from jobs.render_report import render_report
from nightloop.dataset import DatasetRef
from nightloop.folders.loading import load_source, load_use_case
from nightloop.loop.night.asof_inputs import load_sources, version_features
from nightloop.loop.night.drift_inputs import as_rows, features_of
from nightloop.run import JobResult, Replay, RunKey, format_night
from nightloop.stores.ledger import ledger as ledger_store
from nightloop.stores.ledger.ledger import Ledger
from nightloop.stores.ledger.rows import MaturityRow
from nightloop.stores.reports import Reports
from nightloop.stores.warehouse import warehouse as warehouse_store
from nightloop.stores.warehouse.warehouse import Warehouse
from tests.unit.drift.builders import Feed, Values, draw_quiet, night

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOLDERS = (Path(__file__).parents[2] / "include",)
CHANGE, NIGHTS = 14, 19
USE_CASE = load_use_case("taxi_duration", FOLDERS)
VERSION = version_features(USE_CASE, load_sources(USE_CASE, lambda name: load_source(name, FOLDERS)))
FEATURES = features_of(USE_CASE.name, VERSION)
ALARM = CHANGE + USE_CASE.drift.evidence.m - 1  # enough changed nights to speak


@dataclass
class Job:
    """As much of a job context as these jobs touch."""

    name: str
    replay: Replay
    ledger: Ledger
    warehouse: Warehouse
    token: int
    reports: Any = None
    lake: Any = None
    options: Mapping[str, str] = field(default_factory=dict)
    use_case: Any = USE_CASE

    @property
    def run_key(self) -> RunKey:
        return self.replay.run_key

    @contextmanager
    def phase(self, _: str) -> Iterator[None]:
        yield

    def load_source(self, name: str) -> Any:
        return load_source(name, FOLDERS)

    def result(self, outputs: Any = (), **parts: Any) -> JobResult:
        return JobResult(self.name, self.run_key, tuple(outputs), **parts)


@dataclass
class Stores:
    ledger: Ledger
    warehouse: Warehouse

    def job(self, name: str, first: int, last: int, **more: Any) -> Any:
        replay = Replay(USE_CASE.name, tuple(night(p) for p in range(first, last + 1)))
        return Job(name, replay, self.ledger, self.warehouse, self.ledger.draw_token(replay, name), **more)

    def decide(self, first: int, last: int, **options: str) -> JobResult:
        return decide_retraining(self.job("decide_retraining", first, last, options=options))

    def verdicts(self, kind: str = "drift") -> dict[datetime, str]:
        return {row.as_of: row.answer for row in self.ledger.verdicts(USE_CASE.name, kind=kind)}


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    """A ledger that has profiled a feed in which zones change after two quiet weeks; labels mature the next night."""
    ledger_url, warehouse_url = f"sqlite:///{tmp_path}/ledger.db", f"sqlite:///{tmp_path}/warehouse.db"
    ledger_store.migrate(ledger_url)
    warehouse_store.migrate(warehouse_url)
    stores = Stores(Ledger.open(ledger_url), Warehouse.open(warehouse_url))
    profiled = stores.job("profile_partition", 0, NIGHTS - 1)
    rows = as_rows(Feed(draw_changed).profiles(NIGHTS), profiled.replay, FEATURES)
    stores.ledger.write_profiles(profiled.token, rows)
    stores.ledger.write_maturity(profiled.token, [mature(position) for position in range(NIGHTS - 1)])
    return stores


def draw_changed(rng: Any, position: int, rows: int) -> Values:
    values = draw_quiet(rng, position, rows)
    if position >= CHANGE:
        values["zone"][: rows // 3] = "e"
    return values


def mature(position: int) -> MaturityRow:
    at = night(position + 1)
    return MaturityRow(USE_CASE.name, at, "main", night(position), at, 1000, 1000)


def test_a_night_that_answers_retrain_is_an_open_request_until_it_is_answered(stores: Stores) -> None:
    stores.decide(0, ALARM - 1)
    result = stores.decide(ALARM, ALARM)
    asked = night(ALARM)
    assert result.facts["answer"] == "retrain"
    assert result.facts["columns"] == "zone"
    assert result.facts["open_requests"] == f'["{asked.isoformat()}"]'
    assert stores.decide(ALARM + 1, ALARM + 1).facts["open_requests"] == result.facts["open_requests"]
    stores.ledger.answer_request(USE_CASE.name, asked, "retrain_run", "keep")
    assert stores.decide(ALARM + 2, ALARM + 2).facts["open_requests"] == "[]"
    assert [row["answer"] for row in stores.warehouse.read("drift", USE_CASE.name)].count("retrain") == 1


def test_many_nights_at_once_give_the_verdicts_of_single_ones_and_ask_for_nothing(stores: Stores) -> None:
    result = stores.decide(0, NIGHTS - 1)
    assert stores.verdicts("drift-replay")[night(ALARM)] == "retrain"
    assert list(stores.verdicts("drift-replay").values()).count("nothing") == NIGHTS - 1
    assert result.facts["open_requests"] == "[]"
    assert stores.ledger.open_requests(USE_CASE.name) == []
    assert all(stores.ledger.is_closed(USE_CASE.name, night(position)) for position in range(NIGHTS))


def test_a_rerun_of_a_replayed_night_and_a_backfill_ask_for_nothing(stores: Stores) -> None:
    stores.decide(0, NIGHTS - 1)
    stores.decide(ALARM, ALARM)
    assert stores.verdicts() == {}
    assert stores.verdicts("drift-replay")[night(ALARM)] == "retrain"


def test_a_single_backfilled_night_asks_for_nothing(stores: Stores) -> None:
    stores.decide(0, ALARM - 1)
    assert stores.decide(ALARM, ALARM, backfill="true").facts["open_requests"] == "[]"
    assert stores.ledger.open_requests(USE_CASE.name) == []


@pytest.mark.parametrize("is_answered", [False, True], ids=["request open", "request answered"])
def test_a_rerun_of_a_closed_night_gives_the_same_verdict(stores: Stores, *, is_answered: bool) -> None:
    stores.decide(0, ALARM - 1)
    for position in (ALARM, ALARM + 1, ALARM + 2):
        stores.decide(position, position)
    before = {row.as_of: asdict(row.verdict) for row in stores.ledger.verdicts(USE_CASE.name)}
    if is_answered:
        stores.ledger.answer_request(USE_CASE.name, night(ALARM), "retrain_run", "keep")
    for position in (ALARM + 2, ALARM, ALARM + 1):
        stores.decide(position, position)
    assert {row.as_of: asdict(row.verdict) for row in stores.ledger.verdicts(USE_CASE.name)} == before


def test_a_quiet_night_has_no_report_and_says_so(stores: Stores) -> None:
    stores.decide(0, CHANGE - 1)
    result = render_report(stores.job("render_report", CHANGE - 1, CHANGE - 1))
    assert result.links == {}
    assert "none" in result.facts["report"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_loud_night_has_a_report_of_the_lake(spark: "SparkSession", stores: Stores, tmp_path: Path) -> None:
    stores.decide(0, ALARM - 1)
    stores.decide(ALARM, ALARM)
    more = {"lake": fill_lake(spark, tmp_path, stores, ALARM + 1), "reports": Reports(tmp_path / "reports")}
    result = render_report(stores.job("render_report", ALARM, ALARM, **more))
    html = Path(result.links["report"]).read_text()
    assert "taxi_duration: retrain" in html
    assert "sampled rows" in html


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The 'without_files' parameter")
def test_a_replay_is_profiled_like_its_single_nights(spark: "SparkSession", tmp_path: Path) -> None:
    profiled = []
    for ranges in ([(0, 3)], [(0, 0), (1, 1), (2, 2), (3, 3)]):
        url = f"sqlite:///{tmp_path}/{len(ranges)}.db"
        ledger_store.migrate(url)
        stores = Stores(Ledger.open(url), None)  # type: ignore[arg-type]
        lake = fill_lake(spark, tmp_path / str(len(ranges)), stores, 4)
        for first, last in ranges:
            profile_partition(stores.job("profile_partition", first, last, lake=lake))
        profiled.append(stores.ledger.profiles(USE_CASE.name, FEATURES, night(0), night(3)))
    assert profiled[0] == profiled[1]
    assert len(profiled[0]) == 4 * len(USE_CASE.features.names)
    assert {row.rows for row in profiled[0]} == {300}


def fill_lake(spark: "SparkSession", root: Path, stores: Stores, nights: int) -> Any:
    """Publish 300 feature rows a night that hang on the row number alone."""
    from pyspark.sql import functions as F

    from nightloop.stores.lake.lake import Lake

    lake, job = Lake(spark, str(root / "lake")), stores.job("build_features", 0, nights - 1)
    names = F.array(*(F.lit(format_night(night(position))) for position in range(nights)))
    number: Callable[[str], Any] = lambda column: F.pmod(F.xxhash64("id", F.lit(column)), F.lit(97)).cast("double")  # noqa: E731
    frame = spark.range(300 * nights).select(
        F.col("id").cast("string").alias("row_id"),
        *(number(column).alias(column) for column in USE_CASE.features.numeric),
        *((number(column) % 5).cast("string").alias(column) for column in USE_CASE.features.categorical),
        F.get(names, (F.col("id") % nights).cast("int")).alias("night"),
        F.lit("main").alias("variant"),
    )
    lake.publish(frame, DatasetRef("features", USE_CASE.name, VERSION), job.replay, job.token)
    return lake
