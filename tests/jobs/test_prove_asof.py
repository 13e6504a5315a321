"""`prove_asof` on a small lake: it passes as things are, and fails when anything in the past was changed."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from typer.testing import CliRunner

from nightloop.commands.cli import app
from nightloop.engine.session import open_session
from nightloop.folders.loading import load_use_case
from nightloop.run import EXIT_INPUT, EXIT_OK, JobResult, format_night
from nightloop.settings import CHECKOUT
from nightloop.simulate.params import FaultParams
from nightloop.simulate.world import simulate
from nightloop.stores.ledger.ledger import Ledger
from nightloop.stores.ledger.rows import CheckRow
from tests.killable import KillableServer
from tests.loop import Loop, copy_home

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

SCOPE = "taxi_duration"
NIGHTS = [datetime(2025, 1, day, 2, tzinfo=UTC) for day in (5, 6, 7)]
OLD = NIGHTS[1]


@pytest.fixture(scope="module")
def built(server: KillableServer, tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """Three nights of trips with corrections and late files, their features built in one replay."""
    home = tmp_path_factory.mktemp("proof")
    use_case = load_use_case(SCOPE, (CHECKOUT / "include",))
    with open_session(server.remote, str(uuid.uuid4())) as spark:
        simulate(use_case, spark, home / "landing", NIGHTS, 200, faults=FaultParams())
    loop = Loop(home, SCOPE, server.remote).migrate()
    loop.ingest(NIGHTS[-1], NIGHTS[0])
    loop.run("build_features", SCOPE, "use_case", NIGHTS[-1], NIGHTS[0])
    return loop


@pytest.fixture
def loop(built: Loop, tmp_path: Path) -> Loop:
    """A copy, for a test that tampers with it."""
    copy_home(built.home, tmp_path / "copy")
    return Loop(tmp_path / "copy", SCOPE, built.remote)


def _prove(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, night: datetime = OLD, sample: int = 1000
) -> tuple[int, list[CheckRow]]:
    from jobs.prove_asof import main

    for name, value in loop.environment.items():
        monkeypatch.setenv(name, value)
    result = loop.home / "result"
    asked = {"night": night.isoformat(), "sample": str(sample)}
    code = main(Loop.arguments(result, SCOPE, "use_case", NIGHTS[-1], None, asked))
    assert code != EXIT_OK or 0 < JobResult.read(result).counts["rows"] <= sample
    ledger = Ledger.open(loop.settings.ledger_url)
    checks = [row for row in ledger.checks(SCOPE, NIGHTS[-1], NIGHTS[-1]) if "proved" in row.dataset]
    ledger.close()
    return code, checks


def _features(loop: Loop) -> DeltaTable:
    folder = next(path for path in (Path(loop.settings.lake) / "features" / SCOPE).glob("*/_delta_log"))
    return DeltaTable(str(folder.parent))


def test_every_night_of_a_replay_is_what_its_past_gives(built: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    for night in NIGHTS:
        code, checks = _prove(built, monkeypatch, night, 100)
        assert JobResult.read(built.home / "result").counts == {"rows": 100}
        assert (code, [(row.check.outcome, row.check.figure) for row in checks]) == (EXIT_OK, [("pass", 0.0)])


def test_one_tampered_value_is_found(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    table = _features(loop)
    rows = table.to_pandas(columns=["row_id", "night"])
    victim = rows.loc[rows["night"] == format_night(OLD), "row_id"].iloc[17]
    table.update(updates={"trip_distance": "trip_distance + 0.001"}, predicate=f"row_id = '{victim}'")
    code, (row,) = _prove(loop, monkeypatch)
    assert (code, row.check.outcome, row.check.figure) == (EXIT_INPUT, "fail", 1.0)
    assert f"row {victim}, trip_distance: stored " in row.check.detail
    assert _prove(loop, monkeypatch, NIGHTS[0])[0] == EXIT_OK


def test_late_record_in_an_old_partition_is_found(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(Path(loop.settings.lake) / "clean" / "weather")
    forecasts = DeltaTable(path).to_pyarrow_table(filters=[("night", "=", format_night(OLD))])
    warmer = pa.compute.add(forecasts.column("temperature_c"), 5.0)
    late = pa.array([OLD - timedelta(seconds=1)] * forecasts.num_rows, forecasts.schema.field("known_at").type)
    for name, column in (("temperature_c", warmer), ("known_at", late)):
        forecasts = forecasts.set_column(forecasts.schema.get_field_index(name), name, column)
    write_deltalake(path, forecasts, mode="append")
    code, (row,) = _prove(loop, monkeypatch)
    assert (code, row.check.outcome) == (EXIT_INPUT, "fail")
    assert "temperature_c: stored " in row.check.detail
    assert f"night {format_night(OLD)}" in capsys.readouterr().out
    assert _prove(loop, monkeypatch, NIGHTS[0])[0] == EXIT_OK


def test_row_that_vanished_is_found(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    table = _features(loop)
    rows = table.to_pandas(columns=["row_id", "night"])
    gone = rows.loc[rows["night"] == format_night(OLD), "row_id"].iloc[:150]
    table.delete(" OR ".join(f"row_id = '{row_id}'" for row_id in gone))
    code, (row,) = _prove(loop, monkeypatch, sample=100)
    assert code == EXIT_INPUT
    assert "*: stored absent, recomputed present" in row.check.detail


def test_command_names_a_night_that_is_not_stored(built: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in built.environment.items():
        monkeypatch.setenv(name, value)
    ran = CliRunner().invoke(app, ["prove", SCOPE])
    assert ran.exit_code == EXIT_INPUT
    assert "one that is closed" in ran.output
    assert CliRunner().invoke(app, ["prove", SCOPE, "--as-of", "2025-01-06T02:00Z"]).exit_code == EXIT_OK
    assert CliRunner().invoke(app, ["prove", SCOPE, "--as-of", "2025-01-08T02:00Z"]).exit_code == EXIT_INPUT
