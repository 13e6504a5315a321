"""The leakage gate, as a job, on a small lake: what passes, what is refused, and what stands in the ledger."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from deltalake import write_deltalake

from jobs import check_leakage
from nightloop.asof.labels import complete_at
from nightloop.folders.loading import load_source, load_use_case
from nightloop.folders.schedule import first_tick_at_or_after
from nightloop.loop.night.asof_inputs import load_sources, version_features
from nightloop.loop.retraining.leakage_inputs import list_readers
from nightloop.run import EXIT_INPUT, EXIT_OK, JobResult, format_night
from nightloop.stores.ledger.ledger import Ledger, migrate
from nightloop.verdict import Check
from tests.e2e.feeds import SHARED_DATA, needs_feed

pytestmark = pytest.mark.filterwarnings("default")  # the libraries of a job warn

SCOPE, SOURCE = "charged_off", "loans"
FIRST, AS_OF = datetime(2010, 1, 1, tzinfo=UTC), datetime(2012, 1, 1, tzinfo=UTC)
Run = Callable[[], tuple[int, JobResult | None]]


class World:
    """One use case over one source that declares its knowledge by a column, and the lake that its jobs would leave."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.lake = home / "lake"

    def write_folders(self, numeric: list[str], categorical: list[str], **leakage: object) -> None:
        source, use_case = self.home / "folders/sources" / SOURCE, self.home / "folders/use_cases" / SCOPE
        columns = {name: {"type": "double"} for name in numeric} | {name: {"type": "string"} for name in categorical}
        described = {"name": SOURCE, "owner": "team", "description": "Loans.", "schedule": "0 0 1 * *"}
        described |= {"start": FIRST.date(), "uri": SOURCE, "format": "csv", "keys": ["loan_id"]}
        described |= {"columns": {"loan_id": {"type": "string"}, "issue_d": {"type": "date"}, **columns}}
        described |= {"known_at": {"by": "column", "column": "issue_d", "truncated_to": "month"}}
        write_folder(source, "source.yaml", described, clean=f"SELECT loan_id, issue_d, {listed(columns)} FROM raw")
        decided = {"name": SCOPE, "owner": "team", "description": "Charged off.", "task": "binary"}
        decided |= {"schedule": "0 0 1 * *", "start": FIRST.date(), "entity": ["loan_id"], "leakage": leakage}
        decided |= {"sources": {SOURCE: {"join": {"loan_id": "loan_id"}}}, "label": {"horizon": "6 months"}}
        decided |= {"features": {"numeric": numeric, "categorical": categorical}}
        decided |= {"promotion": {"metric": "roc_auc", "refresh_margin": 0.01}}
        decided |= {"training": {"window_days": 1500, "judging_days": 92, "candidates": [{"family": "linear"}]}}
        known = f"WITH known AS (SELECT * FROM {SOURCE})"
        queries = {
            "spine": f"SELECT loan_id, as_of AS decision_time, as_of FROM {SOURCE}_new",
            "features": f"{known} SELECT spine.row_id, {listed(columns)} FROM spine JOIN known USING (row_id)",
            "label": "SELECT row_id, 1 AS label FROM spine",
        }
        write_folder(use_case, "use_case.yaml", decided, **queries)

    def write_lake(self, loans: pd.DataFrame, label: np.ndarray, later: str | None = None) -> None:
        """Write features, labels and clean rows of loans decided on when their month of issue had ended."""
        folders = (self.home / "folders",)
        use_case = load_use_case(SCOPE, folders)
        version = version_features(use_case, load_sources(use_case, lambda name: load_source(name, folders)))
        nights = [instant.to_pydatetime() for instant in loans["decided"]]
        complete = {night: complete_at(night, use_case.label) for night in set(nights)}
        maturity = {night: first_tick_at_or_after(use_case.schedule, until) for night, until in complete.items()}
        row_ids = [
            f"{loan}@{int(night.timestamp() * 1e6)}" for loan, night in zip(loans["loan_id"], nights, strict=True)
        ]
        shared = {"row_id": row_ids, "loan_id": list(loans["loan_id"]), "variant": ["main"] * len(loans)}
        shared["decision_time"] = pa.array(nights, pa.timestamp("us", "UTC"))
        columns = {name: pa.array(loans[name], from_pandas=True) for name in use_case.features.names}
        names = [format_night(night) for night in nights]
        self.write(f"features/{SCOPE}/{version}", pa.table({**shared, **columns, "night": names}))
        matured = {"cohort": names, "night": [format_night(maturity[night]) for night in nights]}
        outcome = {"label": label, "is_observed": [True] * len(loans)}
        self.write(f"labels/{SCOPE}", pa.table({**shared, **matured, **outcome}))
        dates = {} if later is None else {later: pa.array(pd.to_datetime(loans[later]).dt.date, pa.date32())}
        known = {"known_at": shared["decision_time"], "known_by": ["declared"] * len(loans), "night": names}
        clean = {"loan_id": shared["loan_id"], **columns, **dates, **known, "variant": shared["variant"]}
        self.write(f"clean/{SOURCE}", pa.table(clean))

    def write(self, path: str, table: pa.Table) -> None:
        write_deltalake(str(self.lake / path), table, partition_by=["night", "variant"], mode="overwrite")

    def checks(self) -> list[Check]:
        ledger = Ledger.open(f"sqlite:///{self.home}/ledger.db")
        return [row.check for row in ledger.checks(SCOPE, AS_OF, AS_OF) if row.dataset == f"training/{SCOPE}"]


def listed(columns: dict[str, object]) -> str:
    return ", ".join(columns)


def write_folder(folder: Path, name: str, document: dict[str, object], **queries: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(yaml.safe_dump(document))
    (folder / "suite.yaml").write_text("expectations: []\n")
    for query, text in queries.items():
        (folder / f"{query}.sql").write_text(text)


def make_loans(rows: int = 2_400) -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(1)
    decided = pd.date_range(FIRST, periods=18, freq="MS")[np.arange(rows) * 18 // rows]
    loans = pd.DataFrame({"loan_id": [f"L{row}" for row in range(rows)], "decided": decided})
    loans["amount"], loans["income"] = random.lognormal(9, 0.5, rows), random.lognormal(10, 0.5, rows)
    loans["state"] = random.choice(["NY", "CA"], rows)
    return loans, (random.random(rows) < 0.2 * loans["amount"] / loans["amount"].mean()).to_numpy(np.float64)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("NIGHTLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("NIGHTLOOP_FOLDERS", str(tmp_path / "folders"))
    migrate(f"sqlite:///{tmp_path}/ledger.db")
    return World(tmp_path)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run_job() -> tuple[int, JobResult | None]:
        path = tmp_path / "result.json"
        argv = ["--scope", SCOPE, "--kind", "use_case", "--as-of", AS_OF.isoformat(), "--result", str(path)]
        return check_leakage.main(argv), JobResult.read(path) if path.exists() else None

    return run_job


def test_honest_rows_pass_and_every_rule_leaves_its_figure(world: World, run: Run) -> None:
    world.write_folders(["amount", "income"], ["state"])
    world.write_lake(*make_loans())
    code, result = run()
    assert code == EXIT_OK
    assert result is not None
    assert result.counts["rows"] == result.counts["sampled"] == 2_400
    assert {check.outcome for check in world.checks()} == {"pass"}
    assert len(world.checks()) == result.counts["checks"] >= 9


def test_all_refusals_are_told_at_once_and_kept(world: World, run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    loans, label = make_loans()
    loans["repaid"] = np.where(label == 1, 0.4, 1.0) * loans["amount"]
    loans["flag"] = np.where((label == 1) & (np.arange(len(label)) % 2 == 0), "Y", "N")
    loans["paid_on"] = loans["decided"] + timedelta(days=40)
    world.write_folders(["amount", "income", "repaid"], ["state", "flag"])
    world.write_lake(loans, label, later="paid_on")
    assert run()[0] == EXIT_INPUT
    refused = {check.name: check for check in world.checks() if check.is_failed}
    assert set(refused) == {
        "one value gives the label away: flag",
        "together nearly determine the label: amount, repaid",
        "known before it happened: loans.paid_on",
    }
    said = capfd.readouterr().out
    assert all(f"{name}: expected less than {check.limit:.4g}" in said for name, check in refused.items())
    assert "read by amount, income, repaid, state, flag" in said


def test_a_reason_lets_a_column_stay(world: World, run: Run) -> None:
    loans, label = make_loans()
    world.write_folders(["amount", "score"], ["state"], allowed={"score": "the decision itself rests on this score"})
    world.write_lake(loans.assign(score=label), label)
    code, result = run()
    assert code == EXIT_OK
    assert result is not None
    assert "nearly determines the label: score" in result.facts["warned"]


def test_labels_measured_under_a_shorter_horizon_are_refused(world: World, run: Run) -> None:
    world.write_folders(["amount", "income"], ["state"])
    world.write_lake(*make_loans())
    file = world.home / "folders/use_cases" / SCOPE / "use_case.yaml"
    file.write_text(file.read_text().replace("6 months", "9 months"))
    assert run()[0] == EXIT_INPUT
    (refused,) = [check for check in world.checks() if check.is_failed]
    assert refused.name == "labels known after the cut: decision_time, label"
    assert refused.figure


def test_the_features_made_from_a_source_are_told_through_subqueries(world: World) -> None:
    world.write_folders(["amount", "income", "loans_before"], [])
    use_case, folders = load_use_case(SCOPE, (folder := world.home / "folders",)), (folder,)
    sql = f"""
      WITH counted AS (SELECT row_id, count(*) AS n, max(amount) AS most FROM {SOURCE} GROUP BY row_id)
      SELECT spine.row_id, most AS amount, 2 * c.most AS income, c.n AS loans_before
      FROM spine JOIN counted AS c ON c.row_id = spine.row_id
    """
    readers = list_readers(use_case.model_copy(update={"features_sql": sql}), {SOURCE: load_source(SOURCE, folders)})
    assert readers == {SOURCE: ["amount", "income"]}


@pytest.mark.data
@needs_feed("lending_club")
def test_the_public_file_with_its_outcomes_is_refused(world: World, run: Run) -> None:
    loans = pd.read_csv(SHARED_DATA / "lending_club" / "leaky_full.csv.gz", low_memory=False)
    loans["decided"] = (pd.to_datetime(loans["issue_d"]) + pd.offsets.MonthBegin(1)).dt.tz_localize("UTC")
    loans = loans[(loans["decided"] >= FIRST) & (loans["decided"] <= AS_OF - timedelta(days=184))]
    shown = [name for name in loans if name not in {"loan_id", "issue_d", "decided", "loan_status", "last_pymnt_d"}]
    numeric = [name for name in shown if loans[name].dtype.kind in "if"]
    world.write_folders(numeric, [name for name in shown if name not in numeric])
    label = loans["loan_status"].str.contains("Charged Off").to_numpy(np.float64)
    world.write_lake(loans, label, later="last_pymnt_d")
    assert run()[0] == EXIT_INPUT
    refused = {check.name for check in world.checks() if check.is_failed}
    assert {
        "nearly determines the label: recoveries",
        "one value gives the label away: collection_recovery_fee",
        "one value gives the label away: debt_settlement_flag",
        "together nearly determine the label: funded_amnt, total_rec_prncp",
        f"known before it happened: {SOURCE}.last_pymnt_d",
    } <= refused
