"""Lending Club's loans through the real stack: history in one replay, then six months as Airflow runs."""

import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from nightloop.artifact import score_table
from nightloop.dataset import DatasetRef
from nightloop.demo.airflow_api import AirflowApi
from nightloop.demo.nights import Scheduler
from nightloop.drift.past import DRIFT, DRIFT_REPLAY
from nightloop.folders.schedule import ticks
from nightloop.loop.retraining.outcome import GATE, find_verdict
from nightloop.loop.retraining.work import read_candidate, work_folder
from nightloop.run import RunKey, format_night
from nightloop.settings import CHECKOUT, Settings
from nightloop.stack.environment import TELEMETRY_OFF
from nightloop.stack.stack import Stack
from nightloop.stores.ledger.ledger import Ledger
from nightloop.stores.ledger.rows import ModelRow, VerdictRow
from nightloop.stores.registry.model_files import read_model
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
    """What ran: the loop on its state folder, each month's tasks with their states, the retrainings they woke."""

    loop: Loop
    tasks: dict[datetime, dict[str, str]]
    retrainings: dict[datetime, dict[str, Any]]

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
            with closing(AirflowApi(stack.airflow_url, stack.user, stack.password)) as api:
                yield tell(api, loop)


def tell(api: AirflowApi, loop: Loop) -> Story:
    """Bootstrap to 2010-12 and train, run six months, then label all loans of 2011 in one replay."""
    scheduler = Scheduler(api, loop.use_case, tuple(loop.sources))
    api.wait_for_dags(scheduler.dag_ids)
    land(loop, ticks(MONTHLY, FIRST, TRAINED))
    scheduler.bootstrap(FIRST, TRAINED, quietly)
    tasks: dict[datetime, dict[str, str]] = {}
    retrainings: dict[datetime, dict[str, Any]] = {}
    for night in MONTHS:
        land(loop, [night])
        scheduler.take_in(night)
        run = scheduler.run_night(night, quietly)
        tasks[night] = {task["task_id"]: task["state"] for task in api.tasks(f"nightly_{NAME}", run["dag_run_id"])}
        if tasks[night]["request_retraining"] == "success":
            retrainings[night] = scheduler.wait_for_retraining(quietly, len(retrainings))
    after = MONTHS[-1].replace(month=MONTHS[-1].month + 1)
    land(loop, ticks(MONTHLY, after, ALL_MATURED))
    loop.ingest(ALL_MATURED, after)
    loop.run("build_features", NAME, "use_case", LOANS_OF_2011[-1], after)
    loop.run("measure_outcomes", NAME, "use_case", ALL_MATURED, after)
    return Story(loop, tasks, retrainings)


def land(loop: Loop, nights: list[datetime]) -> None:
    for feed in FEEDS:
        drop_months(feed, Path(loop.settings.landing), nights)


def quietly(_: str) -> None:
    """The progress of a run interests nobody here."""


def read_labelled(story: Story, model: ModelRow) -> pd.DataFrame:
    """Return every loan that has matured, with its features, its label, its `night` and when it `matured`."""
    lake = story.loop.settings.lake
    features = DeltaTable(f"{lake}/{DatasetRef('features', NAME, model.feature_version).path}").to_pandas()
    labels = DeltaTable(f"{lake}/{DatasetRef('labels', NAME).path}").to_pandas()
    labels = labels[labels["is_observed"]].rename(columns={"night": "matured"})[["row_id", "label", "matured"]]
    return features.merge(labels, on="row_id").sort_values(["decision_time", "row_id"], ignore_index=True)


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


def test_every_month_is_a_successful_airflow_run(story: Story) -> None:
    scores = story.loop.rows(DatasetRef("scores", NAME))
    for night in MONTHS:
        states = dict(story.tasks[night])
        asked = states.pop("request_retraining")
        assert set(states.values()) == {"success"}, states
        assert asked == ("success" if story.verdict(night, DRIFT).answer == "retrain" else "skipped")
    issued = assert_rows_accounted_for(story.ledger, "lc_applications", MONTHS[0], MONTHS[-1])
    scored = scores[scores["night"] >= format_night(MONTHS[0])].groupby("night").size().to_dict()
    assert scored == {format_night(night): rows for night, rows in issued.items()}


@pytest.mark.parametrize("source", ["lc_applications", "lc_outcomes"])
def test_every_row_received_is_accounted_for(story: Story, source: str) -> None:
    received = assert_rows_accounted_for(story.ledger, source, FIRST, ALL_MATURED)
    assert list(received) == ticks(MONTHLY, FIRST, ALL_MATURED)
    assert received[FIRST_60_MONTH_LOANS] == len(pd.read_csv(landed_file(story, source, "2010-05")))


def landed_file(story: Story, source: str, month: str) -> Path:
    folder = {"lc_applications": "applications", "lc_outcomes": "outcomes"}[source]
    return Path(story.loop.settings.landing) / "lending_club" / folder / f"{month}.csv.gz"


def test_the_month_in_which_60_month_loans_appear_waits_for_their_labels(story: Story) -> None:
    verdict = story.verdict(FIRST_60_MONTH_LOANS, DRIFT_REPLAY)
    assert verdict.answer == "wait"
    assert "term" in verdict.columns
    cohorts = {row.cohort_as_of: row.matures_at for row in story.ledger.maturity(NAME, ALL_MATURED)}
    assert verdict.facts["until"] == "2011-06-01" == cohorts[FIRST_60_MONTH_LOANS].date().isoformat()


def test_when_those_labels_mature_the_loop_retrains_by_itself(story: Story) -> None:
    matured = first_of(2011, 6)
    verdict = story.verdict(matured, DRIFT)
    assert (verdict.answer, verdict.columns) == ("retrain", ("term",))
    assert all(run["run_type"] == "asset_triggered" and run["state"] == "success" for run in story.retrainings.values())
    assert matured in story.retrainings
    assert story.ledger.open_requests(NAME) == []


def test_the_refitted_champion_holds_on_the_loans_of_2011(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    champion = story.ledger.champion(NAME, MONTHS[0])
    assert champion is not None
    assert champion.as_of == TRAINED
    rows = read_labelled(story, champion)
    known = rows[rows["matured"] <= format_night(TRAINED)]
    judged = rows[rows["night"].between(format_night(LOANS_OF_2011[0]), format_night(LOANS_OF_2011[-1]))]
    assert len(known) == champion.pins["rows"]
    assert len(judged) == 21_721

    key = RunKey(NAME, TRAINED)
    winner = find_verdict(story.ledger, key, GATE).facts["winner"]
    twin, path = read_candidate(work_folder(story.loop.settings.work, key, winner))
    artifacts = {
        "refitted champion": read_model(champion.uri, champion.digest),
        "judged twin, not refitted": read_model(str(path), twin.digest),
    }
    numeric, categorical = (list(names) for names in (champion.recipe["numeric"], champion.recipe["categorical"]))
    table = pa.Table.from_pandas(judged[[*numeric, *categorical]], preserve_index=False)
    scores = {name: score_table(artifact, table) for name, artifact in artifacts.items()}
    for name, model in fit_plainly(known, numeric, categorical).items():
        scores[name] = model.predict_proba(judged[[*numeric, *categorical]])[:, 1]
    figures = {name: float(roc_auc_score(judged["label"], score)) for name, score in scores.items()}
    with capsys.disabled():
        told = ", ".join(f"{name} {figure:.4f}" for name, figure in figures.items())
        sys.stdout.write(f"\nROC AUC on {len(judged):,} loans of 2011, {champion.recipe['family']}: {told}\n")

    assert figures["refitted champion"] >= 0.61
    assert figures["refitted champion"] >= max(figures["logistic regression"], figures["gradient boosting"]) - 0.01
