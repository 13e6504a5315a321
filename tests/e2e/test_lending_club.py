"""Lending Club's loans, month by month, through the real stack: history in one replay, then six months as Airflow runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from nightloop.dataset import DatasetRef
from nightloop.demo.airflow_api import AirflowApi
from nightloop.demo.nights import Scheduler
from nightloop.drift.past import DRIFT, DRIFT_REPLAY
from nightloop.run import RunKey, format_night
from nightloop.schedule import ticks
from nightloop.scoring.frame import score_table
from nightloop.settings import CHECKOUT, Settings
from nightloop.stack import Stack
from nightloop.stack.environment import TELEMETRY_OFF
from nightloop.stores.ledger import Ledger, ModelRow, VerdictRow
from nightloop.stores.model_files import read_model
from nightloop.training_inputs import GATE, find_verdict, read_candidate, work_folder
from tests.e2e.feeds import MONTHLY, assert_rows_accounted_for, drop_months, first_of, needs_feed
from tests.loop import Loop

pytestmark = [
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.stack,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("default"),  # the libraries of a job warn
    needs_feed("lending_club"),
]

NAME = "lending_club"
FOLDERS = CHECKOUT / "tests" / "use_cases" / NAME
FEEDS = ("lending_club/applications", "lending_club/outcomes")
FIRST, TRAINED = first_of(2007, 7), first_of(2011, 1)
MONTHS = tuple(ticks(MONTHLY, first_of(2011, 2), first_of(2011, 7)))
LOANS_OF_2011 = tuple(ticks(MONTHLY, first_of(2011, 2), first_of(2012, 1)))
ALL_MATURED = first_of(2013, 1)
FIRST_60_MONTH_LOANS = first_of(2010, 6)


@dataclass(frozen=True)
class Story:
    """What ran: the loop on its state folder, the Airflow runs of the six months, the retrainings they woke."""

    loop: Loop
    runs: dict[datetime, dict[str, str]]
    tasks: dict[datetime, dict[str, str]]
    retrainings: list[dict[str, str]]

    @property
    def ledger(self) -> Ledger:
        return Ledger.open(self.loop.settings.ledger_url)

    def verdict(self, night: datetime, kind: str) -> VerdictRow:
        return next(row for row in self.ledger.verdicts(NAME, kind=kind) if row.as_of == night)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    home = tmp_path_factory.mktemp(NAME)
    settings = Settings.from_environment({"NIGHTLOOP_HOME": str(home), "NIGHTLOOP_FOLDERS": str(FOLDERS)})
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**TELEMETRY_OFF, "NIGHTLOOP_NIGHTS_END": "2012-12-31"}.items():
            patch.setenv(name, value)
        with Stack(settings) as stack:
            for name, value in stack.job_environment.items():
                patch.setenv(name, value)
            loop = Loop(home, NAME, stack.remote, (FOLDERS,))
            yield tell(stack, loop)


def tell(stack: Stack, loop: Loop) -> Story:
    """Bootstrap to 2010-12 and train, run six months, then label all loans of 2011 in one replay."""
    api = AirflowApi(stack.airflow_url, stack.user, stack.password)
    scheduler = Scheduler(api, loop.use_case, tuple(loop.sources))
    api.wait_for_dags(scheduler.dag_ids)
    land(loop, ticks(MONTHLY, FIRST, TRAINED))
    scheduler.bootstrap(FIRST, TRAINED, quietly)
    runs, tasks, retrainings = {}, {}, []
    for night in MONTHS:
        land(loop, [night])
        runs[night] = scheduler.run_night(night, quietly)
        found = api.tasks(f"nightly_{NAME}", runs[night]["dag_run_id"])
        tasks[night] = {task["task_id"]: task["state"] for task in found}
        if tasks[night]["request_retraining"] == "success":
            retrainings.append(scheduler.wait_for_retraining(quietly))
    after = MONTHS[-1].replace(month=MONTHS[-1].month + 1)
    land(loop, ticks(MONTHLY, after, ALL_MATURED))
    loop.ingest(ALL_MATURED, after)
    loop.run("build_features", NAME, "use_case", LOANS_OF_2011[-1], after)
    loop.run("measure_outcomes", NAME, "use_case", ALL_MATURED, after)
    return Story(loop, runs, tasks, retrainings)


def land(loop: Loop, nights: list[datetime]) -> None:
    for feed in FEEDS:
        drop_months(feed, Path(loop.settings.landing), nights)


def quietly(_: str) -> None:
    """The progress of a run interests nobody here."""


def read_decided(story: Story, model: ModelRow, first: datetime, last: datetime) -> pd.DataFrame:
    """Return features and labels of the loans decided in [first, last]."""
    features = story.loop.rows(DatasetRef("features", NAME, model.feature_version))
    labels = story.loop.rows(DatasetRef("labels", NAME))[["row_id", "label"]]
    return features[features["night"].between(format_night(first), format_night(last))].merge(labels, on="row_id")


def fit_plainly(rows: pd.DataFrame, numeric: list[str], categorical: list[str]) -> dict[str, Pipeline]:
    """Fit what anyone would try first, with no setting of ours."""
    scaled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="ignore")
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    models = {
        "logistic regression": make_pipeline(
            make_column_transformer((scaled, numeric), (one_hot, categorical)), LogisticRegression(max_iter=1000)
        ),
        "gradient boosting": make_pipeline(
            make_column_transformer(("passthrough", numeric), (ordinal, categorical)),
            HistGradientBoostingClassifier(random_state=0),
        ),
    }
    return {name: model.fit(rows[[*numeric, *categorical]], rows["label"]) for name, model in models.items()}
