"""`load_scores`: what the lake holds of the nights is what the warehouse holds."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from jobs.load_scores import main
from nightloop.run import EXIT_FENCED, EXIT_INPUT, EXIT_OK, JobResult, Replay, RunKey, format_night
from nightloop.stores.ledger import ledger
from nightloop.stores.warehouse import warehouse

FIRST = datetime(2025, 1, 1, 2, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NIGHTLOOP_HOME", str(tmp_path))
    for name in ("NIGHTLOOP_LAKE", "NIGHTLOOP_LEDGER_URL", "NIGHTLOOP_WAREHOUSE_URL"):
        monkeypatch.delenv(name, raising=False)
    ledger.migrate(f"sqlite:///{tmp_path}/ledger.db")
    warehouse.migrate(f"sqlite:///{tmp_path}/warehouse.db")
    return tmp_path


def write_scores(home: Path, *nights: datetime, rows: int = 3) -> None:
    frames = []
    for night in nights:
        micros = int(night.timestamp() * 1e6)
        columns = {
            "row_id": [f"{number}|JFK@{micros}" for number in range(rows)],
            "number": pa.array(range(rows), pa.int64()),
            "decision_time": pa.array([micros] * rows, pa.timestamp("us", "UTC")),
            "score": pa.array(range(rows), pa.float64()),
            "decision": pa.array([None] * rows, pa.int32()),
            "model_version": pa.array([1] * rows, pa.int32()),
            "feature_version": ["abc"] * rows,
            "night": [format_night(night)] * rows,
            "variant": ["main"] * rows,
        }
        frames.append(pa.table(columns))
    path = home / "lake/scores/taxi"
    write_deltalake(path, pa.concat_tables(frames), mode="append", partition_by=["night", "variant"])


def load(home: Path, as_of: datetime) -> int:
    result = ["--result", str(home / "result.json")]
    return main(["--scope", "taxi", "--kind", "platform", "--as-of", as_of.isoformat(), *result])


def test_exactly_the_night_is_loaded_however_often(home: Path) -> None:
    write_scores(home, FIRST, FIRST + timedelta(days=1))
    assert [load(home, FIRST), load(home, FIRST)] == [EXIT_OK, EXIT_OK]
    assert JobResult.read(home / "result.json").counts == {"loaded": 3}
    store = warehouse.Warehouse.open(f"sqlite:///{home}/warehouse.db")
    found = [(row["as_of"], row["entity_key"], row["score"]) for row in store.read("score_history", "taxi")]
    assert sorted(found) == [(FIRST, f"{number}|JFK", float(number)) for number in range(3)]
    store.close()


def test_missing_table_is_an_error_of_the_input(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load(home, FIRST) == EXIT_INPUT
    assert "lake table scores/taxi: expected a Delta table" in capsys.readouterr().out


def test_older_attempt_is_fenced(home: Path) -> None:
    write_scores(home, FIRST)
    store = warehouse.Warehouse.open(f"sqlite:///{home}/warehouse.db")
    store.replace_scores(RunKey("taxi", FIRST), [], 10**15)
    store.close()
    records = ledger.Ledger.open(f"sqlite:///{home}/ledger.db")
    assert records.draw_token(Replay("taxi", (FIRST,)), "load_scores") < 10**15
    records.close()
    assert load(home, FIRST) == EXIT_FENCED
