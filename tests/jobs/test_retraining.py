"""A retraining, job by job, on a small lake: plan, candidates, gate, refit, promotion."""

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from deltalake import DeltaTable, write_deltalake

from jobs import judge_candidates, plan_retraining, promote_model, refit_recipe, train_candidate
from nightloop.fault import NightloopError
from nightloop.folders.loading import load_source, load_use_case
from nightloop.loop.night.asof_inputs import load_sources, version_features
from nightloop.loop.retraining.reproduction import reproduce_model
from nightloop.loop.retraining.work import read_candidate, twin_folder, work_folder
from nightloop.run import EXIT_INPUT, EXIT_OK, EXIT_SKIPPED, EXIT_TRANSIENT, JobResult, Replay, RunKey, format_night
from nightloop.settings import CHECKOUT, Settings
from nightloop.stores.ledger.ledger import Ledger, migrate
from nightloop.stores.reports import Reports
from nightloop.verdict import Verdict
from tests.loop import copy_folders

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # MLflow warns about its own libraries
]

SCOPE = "taxi_duration"
FOLDERS = (CHECKOUT / "include",)
FIRST, AS_OF = datetime(2025, 1, 1, 2, tzinfo=UTC), datetime(2025, 1, 12, 2, tzinfo=UTC)
ROWS_PER_NIGHT = 400

Run = Callable[..., tuple[int, JobResult | None]]


def make_nights(lake: Path, *, nights: int, slower_from: datetime | None = None) -> None:
    """Write features and, a night later, labels; from a given night on every trip takes twice as long."""
    use_case = load_use_case(SCOPE, FOLDERS)
    version = version_features(use_case, load_sources(use_case, lambda name: load_source(name, FOLDERS)))
    features, labels = [], []
    for number in range(nights):
        night = FIRST + number * timedelta(days=1)
        random = np.random.default_rng(number)
        columns = {name: random.exponential(3, ROWS_PER_NIGHT) for name in use_case.features.numeric}
        columns |= {name: random.choice(["a", "b", "c"], ROWS_PER_NIGHT) for name in use_case.features.categorical}
        minutes = 4 + 3 * columns["trip_distance"] + 5 * (columns["pickup_zone"] == "a")
        minutes = (
            minutes * random.lognormal(0, 0.1, ROWS_PER_NIGHT) * (2 if slower_from and night >= slower_from else 1)
        )
        trips = [f"t{number}-{row}" for row in range(ROWS_PER_NIGHT)]
        decided = pa.array([night] * ROWS_PER_NIGHT, pa.timestamp("us", "UTC"))
        key = {"row_id": [f"{trip}@{int(night.timestamp() * 1e6)}" for trip in trips], "trip_id": trips}
        shared = key | {"decision_time": decided, "variant": ["main"] * ROWS_PER_NIGHT}
        features.append(pa.table({**shared, **columns, "night": [format_night(night)] * ROWS_PER_NIGHT}))
        matured = [format_night(night + timedelta(days=1))] * ROWS_PER_NIGHT
        cohort, observed = [format_night(night)] * ROWS_PER_NIGHT, [True] * ROWS_PER_NIGHT
        labels.append(
            pa.table({**shared, "cohort": cohort, "label": minutes, "is_observed": observed, "night": matured})
        )
    partitions = ["night", "variant"]
    path = str(lake / "features" / SCOPE / version)
    write_deltalake(path, pa.concat_tables(features), partition_by=partitions, mode="overwrite")
    write_deltalake(str(lake / "labels" / SCOPE), pa.concat_tables(labels), partition_by=partitions, mode="overwrite")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NIGHTLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("NIGHTLOOP_FOLDERS", str(FOLDERS[0]))
    migrate(f"sqlite:///{tmp_path}/ledger.db")
    return tmp_path


@pytest.fixture
def ledger(home: Path) -> Ledger:
    return Ledger.open(f"sqlite:///{home}/ledger.db")


@pytest.fixture
def run(home: Path) -> Run:
    """Run one job as Airflow would; return its exit code and what it left behind."""

    def run_job(module: object, as_of: datetime = AS_OF, **options: str) -> tuple[int, JobResult | None]:
        path = home / "result.json"
        path.unlink(missing_ok=True)
        sets = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
        argv = ["--scope", SCOPE, "--kind", "use_case", "--as-of", as_of.isoformat(), "--result", str(path), *sets]
        code = module.main(argv)  # type: ignore[attr-defined]
        return code, JobResult.read(path) if path.exists() else None

    return run_job


def refit(run: Run, as_of: datetime = AS_OF) -> dict[str, JobResult | None]:
    """Run the chain up to the refitted model and return every job's result."""
    code, plan = run(plan_retraining, as_of)
    assert (code, plan is not None) == (EXIT_OK, True)
    for name in json.loads(plan.facts["candidates"]):
        assert run(train_candidate, as_of, candidate=name)[0] == EXIT_OK
    results = {"plan": plan, "judge": run(judge_candidates, as_of)[1]}
    code, results["refit"] = run(refit_recipe, as_of)
    assert code in (EXIT_OK, EXIT_SKIPPED)
    return results


def retrain(run: Run, as_of: datetime = AS_OF) -> dict[str, JobResult | None]:
    """Run the whole chain and return every job's result."""
    return {**refit(run, as_of), "promote": run(promote_model, as_of)[1]}


def test_a_tuned_model_keeps_what_its_search_found(
    home: Path, run: Run, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = copy_folders(SCOPE, home / "folders")
    document = folders / "use_cases" / SCOPE / "use_case.yaml"
    use_case = yaml.safe_load(document.read_text())
    use_case["training"]["candidates"] = [{"family": "linear", "tuning": {"trials": 3}}]
    document.write_text(yaml.safe_dump(use_case))
    monkeypatch.setenv("NIGHTLOOP_FOLDERS", str(folders))
    make_nights(home / "lake", nights=13)
    results = retrain(run)
    assert results["promote"].facts["answer"] == "promote"
    recipe = ledger.model(SCOPE, 1).recipe
    assert (recipe["family"], recipe["tuning"], {*recipe["params"]}) == ("linear", None, {"penalty"})
    pages = [*home.rglob("tuning.html")]
    assert len(pages) == 1
    assert "Plotly.newPlot" in pages[0].read_text()
    found = reproduce_model(load_use_case(SCOPE, (folders,)), 1, Settings.from_environment(), print)
    assert str(found).endswith("the same bytes")
    code, plan = run(plan_retraining, AS_OF + timedelta(days=1))
    assert (code, json.loads(plan.facts["candidates"])) == (EXIT_OK, ["champion", "linear-tuned"])


def judge_on_nights(home: Path, monkeypatch: pytest.MonkeyPatch, **training: int) -> None:
    """Let a window be one night of 400 rows and the gate ask for 1,000."""
    folders = copy_folders(SCOPE, home / f"folders-{len(training)}")
    document = folders / "use_cases" / SCOPE / "use_case.yaml"
    use_case = yaml.safe_load(document.read_text())
    use_case["training"] |= {"candidates": [{"family": "linear"}], "judging_days": 1, **training}
    use_case["promotion"]["min_rows"] = 1000
    document.write_text(yaml.safe_dump(use_case))
    monkeypatch.setenv("NIGHTLOOP_FOLDERS", str(folders))


def test_where_one_window_says_too_little_older_ones_are_pooled(
    home: Path, run: Run, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_nights(home / "lake", nights=12)
    judge_on_nights(home, monkeypatch)
    assert refit(run)["judge"].facts["answer"] == "not_enough_evidence"
    judge_on_nights(home, monkeypatch, judging_windows=5)
    results = refit(run)
    judge = results["judge"]
    assert judge.facts["answer"] == "promote"
    assert judge.counts == {"judged_rows": 1200, "judging_windows": 3}, "as many windows as the gate needs, and no more"
    assert judge.facts["judged_from"] == (AS_OF - timedelta(days=3)).isoformat()
    folder = work_folder(home / "work", RunKey(SCOPE, AS_OF), "linear")
    twins = [read_candidate(twin_folder(folder, place))[0] for place in range(3)]
    assert [twin.pins["as_of"] for twin in twins] == [
        (AS_OF - timedelta(days=days)).isoformat() for days in (1, 2, 3)
    ], "no twin knows the rows that it is judged on"
    assert ledger.model(SCOPE, 1).as_of == AS_OF


def test_windows_end_where_there_is_nothing_to_train_on(home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    make_nights(home / "lake", nights=4)
    judge_on_nights(home, monkeypatch, judging_windows=9)
    judge = refit(run, FIRST + timedelta(days=3))["judge"]
    assert judge.counts["judging_windows"] == 2
    assert judge.facts["answer"] == "not_enough_evidence"


def request_retraining(ledger: Ledger, as_of: datetime) -> None:
    token = ledger.draw_token(Replay(SCOPE, (as_of,)), "decide_retraining")
    ledger.write_verdict(RunKey(SCOPE, as_of), token, Verdict(SCOPE, "retrain", "matured performance fell"))


def test_a_first_model_then_a_refresh_after_a_concept_drift(home: Path, ledger: Ledger, run: Run) -> None:
    make_nights(home / "lake", nights=12)
    first = retrain(run)
    assert first["judge"].facts["kind"] == "first"
    champion = ledger.champion(SCOPE, AS_OF + timedelta(days=1))
    assert champion is not None
    assert ledger.champion(SCOPE, AS_OF) is None
    assert champion.metrics["mae"] < 8
    (explanation,) = home.rglob("explanation.json")
    assert next(iter(json.loads(explanation.read_text())["importance"])) == "trip_distance"
    assert "What moves its scores" in Path(first["refit"].links["card"]).read_text()

    later = AS_OF + timedelta(days=4)
    make_nights(home / "lake", nights=16, slower_from=AS_OF + timedelta(days=1))
    request_retraining(ledger, later)
    second = retrain(run, later)
    assert second["promote"].counts["answered_requests"] == 1
    assert second["promote"].facts["champion_before"] == "1"
    assert ledger.open_requests(SCOPE) == []
    assert len(ledger.audit(SCOPE)) == 2

    before = [ledger.champion_history(SCOPE), ledger.audit(SCOPE), ledger.models(SCOPE)]
    retrain(run, later)
    assert [ledger.champion_history(SCOPE), ledger.audit(SCOPE), ledger.models(SCOPE)] == before


def test_a_rollback_while_a_model_waits_for_its_promotion_stands(home: Path, ledger: Ledger, run: Run) -> None:
    make_nights(home / "lake", nights=12)
    assert retrain(run)["promote"].facts["champion"] == "1"
    later = AS_OF + timedelta(days=4)
    make_nights(home / "lake", nights=16, slower_from=AS_OF + timedelta(days=1))
    assert refit(run, later)["judge"].facts["answer"] == "promote"
    rolled_back = ledger.register_model(replace(ledger.model(SCOPE, 1), digest="of another"))
    ledger.change_champion(SCOPE, rolled_back, later, "rollback_champion by ann", "too high")
    history = ledger.champion_history(SCOPE)
    promotion = run(promote_model, later)[1]
    assert promotion.facts["answer"] == "keep"
    assert "rollback_champion by ann after the gate had judged" in promotion.facts["reason"]
    assert ledger.champion_history(SCOPE) == history


def test_a_version_is_reproduced_from_its_pins(home: Path, ledger: Ledger, run: Run) -> None:
    make_nights(home / "lake", nights=12)
    retrain(run)
    settings, use_case = Settings.from_environment(), load_use_case(SCOPE, FOLDERS)
    said: list[str] = []
    found = reproduce_model(use_case, 1, settings, said.append)
    assert found.is_explained
    assert str(found) == "version 1: the same 4,400 training rows, the same bytes"
    assert len(said) == 2

    labels = DeltaTable(str(home / "lake" / "labels" / SCOPE))
    labels.delete("trip_id in ('t3-1', 't3-2', 't4-7')")
    lost = reproduce_model(use_case, 1, settings, said.append)
    assert not lost.is_explained
    assert str(lost).startswith("version 1: 4,397 training rows of 4,400, scores within")

    held = [{"use_case": SCOPE, "version": 1, "rows": 3}, {"use_case": SCOPE, "version": 2, "rows": 9}]
    Reports(settings.reports).write("erasure", RunKey("platform", AS_OF), "c.json", json.dumps({"models": held}))
    erased = reproduce_model(use_case, 1, settings, said.append)
    assert erased.is_explained
    assert str(erased).endswith("exactly the 3 rows that erasures removed")
    with pytest.raises(NightloopError, match="version"):
        reproduce_model(use_case, 9, settings, said.append)


def test_an_outage_of_mlflow_loses_nothing_and_registers_nothing_twice(
    home: Path, ledger: Ledger, run: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    make_nights(home / "lake", nights=12)

    def run_in_an_outage(module: object, **options: str) -> None:
        with monkeypatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as taken:
            patch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{taken.getsockname()[1]}")
            patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
            taken.close()
            assert run(module, **options)[0] == EXIT_TRANSIENT
        assert "failed for now" in capfd.readouterr().out

    code, plan = run(plan_retraining)
    assert code == EXIT_OK
    first, *others = json.loads(plan.facts["candidates"])
    run_in_an_outage(train_candidate, candidate=first)
    _, kept = read_candidate(work_folder(home / "work", RunKey(SCOPE, AS_OF), first))
    before = kept.read_bytes()
    for name in (first, *others):
        assert run(train_candidate, candidate=name)[0] == EXIT_OK
    assert kept.read_bytes() == before
    assert run(judge_candidates)[0] == EXIT_OK

    run_in_an_outage(refit_recipe)
    assert ledger.models(SCOPE) == []
    for _ in range(2):
        assert run(refit_recipe)[0] == EXIT_OK
        assert [model.version for model in ledger.models(SCOPE)] == [1]
    assert ledger.champion(SCOPE, AS_OF + timedelta(days=1)) is None
    run_in_an_outage(promote_model)
    for _ in range(2):
        assert run(promote_model)[0] == EXIT_OK
        assert len(ledger.champion_history(SCOPE)) == 1


def test_an_event_without_a_request_row_is_refused(home: Path, run: Run) -> None:
    make_nights(home / "lake", nights=2)
    assert run(plan_retraining, requests=json.dumps([AS_OF.isoformat()])) == (EXIT_INPUT, None)


def test_a_training_before_anything_matured_says_so(home: Path, run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    make_nights(home / "lake", nights=12)
    code, _ = run(train_candidate, FIRST + timedelta(days=1), candidate="gradient_boosting")
    assert code == EXIT_INPUT
    assert "wait for cohorts to mature" in capfd.readouterr().out
