"""From one score to the lines of files behind it, on a small lake written by hand."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from typer.testing import CliRunner

from nightloop.commands.cli import app
from nightloop.commands.trace import Tracer
from nightloop.dataset import DatasetRef
from nightloop.fault import NightloopError
from nightloop.folders.loading import load_source, load_use_case
from nightloop.run import Replay, RunKey, format_night
from nightloop.settings import CHECKOUT
from nightloop.stores.lake.files import LakeFiles
from nightloop.stores.ledger.ledger import Ledger, migrate
from nightloop.stores.ledger.rows import FileRow, ModelRow

FOLDERS = (CHECKOUT / "include",)
NAME = "taxi_duration"
NIGHT = datetime(2025, 3, 5, 2, tzinfo=UTC)
FITTED = NIGHT - timedelta(days=2)
FEATURES, SCORES = DatasetRef("features", NAME, "v1"), DatasetRef("scores", NAME)
HOUR = datetime(2025, 3, 5, 9, tzinfo=UTC)
INSTANT = pa.timestamp("us", "UTC")


def row_id(trip: str, night: datetime = NIGHT) -> str:
    return f"{trip}@{int(night.timestamp() * 1e6)}"


def write(home: Path, ref: DatasetRef, columns: dict[str, object], nights: list[datetime]) -> None:
    named = {"night": [format_night(night) for night in nights], "variant": ["main"] * len(nights)}
    table = pa.table({**columns, **named})
    write_deltalake(home / "lake" / ref.path, table, mode="append", partition_by=["night", "variant"])


def write_clean(home: Path, source: str, columns: dict[str, list[object]], known: list[datetime]) -> None:
    """Write versions of records, each taken by the night after it became known, from a file of that night."""
    nights = [NIGHT - timedelta(days=max(0, (NIGHT - at).days)) for at in known]
    origin = {
        "known_at": pa.array(known, INSTANT),
        "known_by": ["arrival"] * len(known),
        "_file": [f"{format_night(night)}.csv" for night in nights],
        "_row": list(range(1, len(known) + 1)),
    }
    write(home, DatasetRef("clean", source), columns | origin, nights)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setenv("NIGHTLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("NIGHTLOOP_FOLDERS", str(FOLDERS[0]))
    migrate(f"sqlite:///{tmp_path}/ledger.db")
    opened = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    yield opened
    opened.close()


@pytest.fixture
def tracer(tmp_path: Path, ledger: Ledger) -> Tracer:
    """Two trips scored in one night by a model fitted two nights before; one of them was booked, then corrected."""
    yesterday, before = NIGHT - timedelta(hours=1), NIGHT - timedelta(days=1, hours=1)
    write_clean(
        tmp_path,
        "trips",
        {
            "trip_id": ["4711", "4711", "4712", "4711"],
            "is_cancelled": [False, False, False, False],
        },
        [before, yesterday, yesterday, NIGHT + timedelta(hours=1)],
    )
    write_clean(
        tmp_path,
        "weather",
        {"place": ["Queens", "Bronx"], "forecast_hour": pa.array([HOUR, HOUR], INSTANT)},
        [yesterday, yesterday],
    )
    write_clean(tmp_path, "trip_completions", {"trip_id": ["4000"]}, [yesterday])
    decided = pa.array([NIGHT] * 2, INSTANT)
    named = {"row_id": [row_id("4711"), row_id("4712")], "trip_id": ["4711", "4712"], "decision_time": decided}
    spine = {"pickup_borough": ["Queens", "Bronx"], "pickup_hour": pa.array([HOUR] * 2, INSTANT)}
    write(tmp_path, FEATURES, named | spine | {"trip_distance": [2.5, 3.5]}, [NIGHT] * 2)
    given = {"score": [12.5, 9.0], "decision": pa.array([None, None], pa.int32()), "model_version": [1, 1]}
    write(tmp_path, SCORES, named | given | {"feature_version": ["v1", "v1"]}, [NIGHT] * 2)
    record_history(ledger)
    return Tracer(
        load_use_case(NAME, FOLDERS), partial(load_source, folders=FOLDERS), LakeFiles(f"{tmp_path}/lake"), ledger
    )


def record_history(ledger: Ledger) -> None:
    pins = {"feature_version": "v1", "as_of": FITTED.isoformat(), "rows": 400, "content": "c0ffee"}
    model = ModelRow(NAME, 0, "d1", "file:///m.onnx", {"family": "linear"}, "v1", FITTED, pins)
    ledger.change_champion(NAME, ledger.register_model(model), FITTED, "gate", "better by 2")
    ledger.draw_token(Replay(NAME, (FITTED,)), "refit_recipe", "retrain/run/refit/1", "abc-dirty")
    for ref, job, version in ((FEATURES, "build_features", 3), (SCORES, "score_batch", 4)):
        for attempt in (1, 2):
            token = ledger.draw_token(Replay(NAME, (NIGHT,)), job, f"nightly/run/{job}/{attempt}", f"code{attempt}")
            ledger.record_commit([RunKey(NAME, NIGHT)], token, ref, version + attempt)
    for source in ("trips", "weather"):
        for night in (NIGHT - timedelta(days=1), NIGHT):
            token = ledger.draw_token(Replay(source, (night,)), "land_source")
            name = f"{format_night(night)}.csv"
            file = FileRow(name, f"sha of {source} {name}", 9, night - timedelta(hours=1), None, night, 4)
            ledger.record_files(source, [file], token)


def test_a_prediction_names_model_snapshot_partition_and_code(tracer: Tracer) -> None:
    found = tracer.trace(row_id("4711"))
    assert (found.score, found.decision, found.decision_time) == (12.5, None, NIGHT)
    assert (found.scores.version, found.scores.attempt, found.scores.code) == (6, "nightly/run/score_batch/2", "code2")
    assert (found.features.table, found.features.version) == (f"features/{NAME}/v1", 5)
    model = found.model
    assert (model.version, model.digest, model.snapshot["content"]) == (1, "d1", "c0ffee")
    assert (model.champion_since, model.champion_why, model.code) == (FITTED, "better by 2", "abc-dirty")


def test_its_records_are_the_last_that_the_decision_could_know(tracer: Tracer) -> None:
    found = tracer.trace(row_id("4711"))
    taken = format_night(NIGHT)
    assert [(one.source, one.record, one.file, one.line, one.checksum) for one in found.records] == [
        ("trips", "4711", f"{taken}.csv", 2, f"sha of trips {taken}.csv"),
        ("weather", f"Queens|{HOUR}", f"{taken}.csv", 1, f"sha of weather {taken}.csv"),
    ]
    assert {one.arrived_at for one in found.records} == {NIGHT - timedelta(hours=1)}


def test_an_entity_key_stands_for_its_only_prediction(tracer: Tracer, tmp_path: Path) -> None:
    assert tracer.trace("4712") == tracer.trace(row_id("4712"))
    later = NIGHT + timedelta(days=1)
    named = {"row_id": [row_id("4712", later)], "trip_id": ["4712"], "decision_time": pa.array([later], INSTANT)}
    given = {"score": [1.0], "decision": pa.array([None], pa.int32()), "model_version": [1], "feature_version": ["v1"]}
    write(tmp_path, SCORES, named | given, [later])
    with pytest.raises(NightloopError, match=f"found .*4712@.* in {format_night(NIGHT)}"):
        tracer.trace("4712")
    assert tracer.trace("4712", NIGHT).scores.night == format_night(NIGHT)


@pytest.mark.parametrize("unknown", [row_id("9"), "471", row_id("4711", NIGHT + timedelta(days=1))])
def test_what_was_never_scored_is_a_clear_error(tracer: Tracer, unknown: str) -> None:
    with pytest.raises(NightloopError, match="expected one row of the lake's scores, found none"):
        tracer.trace(unknown)


def test_the_command_prints_both_forms(tracer: Tracer) -> None:
    run: Callable[..., object] = CliRunner().invoke
    as_json = run(app, ["trace", NAME, row_id("4711"), "--json"])
    assert json.loads(as_json.output)["model"]["digest"] == "d1"
    for_people = run(app, ["trace", NAME, "4711", "--as-of", NIGHT.isoformat()], env={"COLUMNS": "200"})
    for words in ("12.5", "content c0ffee", "Delta version 5", "abc-dirty", f"sha of trips {format_night(NIGHT)}.csv"):
        assert words in for_people.output
    assert run(app, ["trace", NAME, "9"]).exit_code == 65
