"""Yellow-cab trips of New York, month by month: a regression whose rows are known one by one."""

import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from deltalake import DeltaTable

from nightloop.dataset import DatasetRef
from nightloop.drift.past import DRIFT
from nightloop.engine.server import ConnectServer
from nightloop.folders.schedule import previous_tick, ticks
from nightloop.run import JobResult, format_night
from nightloop.settings import CHECKOUT
from nightloop.stores.ledger.ledger import Ledger
from tests.e2e.feeds import MONTHLY, SHARED_DATA, assert_rows_accounted_for, drop_months, first_of, needs_feed
from tests.loop import Loop

pytestmark = [
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("default"),  # the libraries of a job warn
    needs_feed("nyc_taxi"),
]

NAME = "nyc_taxi"
FIRST, TRAINED = first_of(2018, 3), first_of(2018, 11)
NIGHTS = first_of(2018, 12), first_of(2019, 1)


@dataclass(frozen=True)
class Story:
    """What ran: the loop on its state folder, how the first training ended, what each further month decided."""

    loop: Loop
    promotion: JobResult
    decisions: dict[datetime, JobResult]

    @property
    def ledger(self) -> Ledger:
        return Ledger.open(self.loop.settings.ledger_url)

    def table(self, ref: DatasetRef) -> pd.DataFrame:
        return DeltaTable(f"{self.loop.settings.lake}/{ref.path}").to_pandas()


@pytest.fixture(scope="module")
def story(spark_server: ConnectServer, tmp_path_factory: pytest.TempPathFactory) -> Story:
    folders = (CHECKOUT / "tests" / "use_cases" / NAME,)
    loop = Loop(tmp_path_factory.mktemp(NAME), NAME, spark_server.remote, folders).migrate()
    landing = Path(loop.settings.landing)
    drop_months(NAME, landing, ticks(MONTHLY, FIRST, TRAINED))
    loop.night(TRAINED, FIRST)
    promotion = loop.retrain(TRAINED)
    decisions = {}
    for night in NIGHTS:
        drop_months(NAME, landing, [night])
        decisions[night] = loop.night(night)
    return Story(loop, promotion, decisions)


def read_pickups(month: datetime) -> "pd.Series[pd.Timestamp]":
    file = SHARED_DATA / NAME / f"{month:%Y-%m}.csv.gz"
    return pd.read_csv(file, parse_dates=["pickup_datetime"])["pickup_datetime"].dt.tz_localize("UTC")


@pytest.mark.parametrize("source", ["nyc_requests", "nyc_trips"])
def test_every_row_received_is_accounted_for(story: Story, source: str) -> None:
    received = assert_rows_accounted_for(story.ledger, source, FIRST, NIGHTS[-1])
    assert received == dict.fromkeys(ticks(MONTHLY, FIRST, NIGHTS[-1]), 10_000)


def test_the_first_champion_predicts_clearly_better_than_the_mean(
    story: Story, capsys: pytest.CaptureFixture[str]
) -> None:
    assert story.promotion.facts["answer"] == "promote"
    cohort, measured = NIGHTS
    metrics = [row for row in story.ledger.metrics(NAME, measured, measured) if row.metric == "mae"]
    assert [row.cohort_as_of for row in metrics] == [cohort]
    labels = story.table(DatasetRef("labels", NAME))
    labels = labels[labels["is_observed"]]
    known = labels[labels["night"] <= format_night(TRAINED)]["label"]
    own = labels[labels["cohort"] == format_night(cohort)]["label"]
    baseline = min(float(np.abs(own - centre).mean()) for centre in (known.mean(), known.median()))
    champion = story.ledger.champion(NAME, cohort)
    assert champion is not None
    with capsys.disabled():
        told = f"champion {metrics[0].value:.2f} ({champion.recipe['family']}), mean or median {baseline:.2f}"
        sys.stdout.write(f"\nMAE in minutes on {metrics[0].rows:,} trips of the night {cohort:%Y-%m-%d}: {told}\n")
    assert metrics[0].rows == len(own) > 9_000
    assert metrics[0].value < 0.6 * baseline


@pytest.mark.parametrize("night", NIGHTS)
def test_a_trip_dated_before_its_month_is_taken_in_and_never_decided_on(story: Story, night: datetime) -> None:
    previous = previous_tick(MONTHLY, night)
    pickups = read_pickups(previous)
    is_inside = pickups.between(previous, night, inclusive="right")
    assert 0 < (~is_inside).sum() < 10
    scores = story.table(DatasetRef("scores", NAME))
    decided = scores.loc[scores["night"] == format_night(night), "decision_time"]
    assert decided.between(previous, night, inclusive="right").all()
    assert len(decided) == is_inside.sum()


def test_quiet_months_ask_for_nothing(story: Story) -> None:
    verdicts = {row.as_of: row for row in story.ledger.verdicts(NAME, kind=DRIFT)}
    assert [verdicts[night].answer for night in NIGHTS] == ["nothing", "nothing"]
