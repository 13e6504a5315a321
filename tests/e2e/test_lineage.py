"""A prediction is followed back to the lines of the files that made it, by the command and by the events."""

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from nightloop.code_version import code_version
from nightloop.dataset import DatasetRef
from nightloop.run import format_night
from nightloop.settings import CHECKOUT
from nightloop.stores.ledger.ledger import Ledger
from tests.e2e.conftest import NIGHTS, SCOPE, TRAINED, World
from tests.loop import Loop

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("default"),  # the jobs run in this process, and their libraries warn when imported
    pytest.mark.filterwarnings("error:::(nightloop|jobs)"),
]

NIGHT = NIGHTS[TRAINED + 1]


@pytest.fixture(scope="module")
def loop(scored: Loop) -> Loop:
    return scored


@pytest.fixture(scope="module")
def trace(loop: Loop) -> dict[str, Any]:
    scores = loop.rows(DatasetRef("scores", SCOPE))
    row_id = scores[scores["night"] == format_night(NIGHT)]["row_id"].iloc[0]
    return json.loads(run_command(loop, "trace", SCOPE, row_id, "--json"))


def run_command(loop: Loop, *arguments: str) -> str:
    environment = {**os.environ, **loop.environment}
    command = [sys.executable, "-m", "nightloop.commands.cli", *arguments]
    ended = subprocess.run(command, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def events_of(loop: Loop, job: str) -> list[dict[str, Any]]:
    lines = (loop.home / "lineage" / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["job"]["name"] == job]


def test_the_model_and_its_snapshot_are_the_ledgers(loop: Loop, trace: dict[str, Any]) -> None:
    ledger = Ledger.open(loop.settings.ledger_url)
    champion = ledger.champion(SCOPE, NIGHT)
    ledger.close()
    assert champion is not None
    model = trace["model"]
    assert (model["version"], model["digest"]) == (champion.version, champion.digest)
    assert hashlib.sha256(Path(model["uri"].removeprefix("file://")).read_bytes()).hexdigest() == model["digest"]
    assert model["snapshot"]["content"] == champion.pins["content"]
    assert model["snapshot"]["as_of"] == model["champion_since"] == NIGHTS[TRAINED].isoformat()
    assert model["code"] == trace["scores"]["code"] == trace["features"]["code"] == code_version()


def test_the_delta_versions_hold_the_row(loop: Loop, trace: dict[str, Any]) -> None:
    for written in (trace["scores"], trace["features"]):
        table = DeltaTable(f"{loop.settings.lake}/{written['table']}", version=written["version"]).to_pandas()
        own = table[(table["row_id"] == trace["row_id"]) & (table["night"] == written["night"])]
        assert len(own) == 1, written
    assert own["trip_distance"].notna().all()


def test_every_record_stands_on_the_line_that_the_trace_names(world: World, trace: dict[str, Any]) -> None:
    records = trace["records"]
    assert {record["source"] for record in records} >= {"trips", "weather"}
    trip = next(record for record in records if record["source"] == "trips")
    assert trip["record"] == trace["row_id"].partition("@")[0]
    for record in records:
        path = world.landing / record["source"] / record["file"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == record["checksum"]
        assert record["arrived_at"] <= trace["decision_time"]
        with path.open(newline="") as stream:
            line = list(csv.reader(stream))[record["line"]]  # line 0 is the header
        assert record["record"].split("|")[0] in line


def test_a_person_reads_the_same(loop: Loop, trace: dict[str, Any]) -> None:
    text = run_command(loop, "trace", SCOPE, trace["row_id"].partition("@")[0], "--as-of", NIGHT.isoformat())
    words = text.split()
    assert f"version {trace['model']['version']}," in text
    assert trace["records"][0]["record"] in words


def test_every_job_run_of_the_night_left_a_beginning_and_an_end(loop: Loop) -> None:
    pytest.importorskip("openlineage.client")
    for job in ("build_features", "score_batch", "load_scores", "measure_outcomes", "profile_partition"):
        begun, ended = events_of(loop, f"{SCOPE}.{job}")[-2:]
        assert (begun["eventType"], ended["eventType"]) == ("START", "COMPLETE")
        assert begun["run"]["runId"] == ended["run"]["runId"]
        assert ended["run"]["facets"]["nominalTime"]["nominalStartTime"] == NIGHT.isoformat()


def test_events_name_what_was_read_and_written_in_which_version(loop: Loop, trace: dict[str, Any]) -> None:
    pytest.importorskip("openlineage.client")
    written, lake = events_of(loop, f"{SCOPE}.build_features")[-1], loop.settings.lake
    (output,) = written["outputs"]
    assert output["name"] == f"{lake}/{trace['features']['table']}"
    assert output["facets"]["version"]["datasetVersion"] == str(trace["features"]["version"])
    assert {column["name"] for column in output["facets"]["schema"]["fields"]} >= {"row_id", "trip_distance", "night"}
    read = {one["name"]: one["facets"]["version"]["datasetVersion"] for one in written["inputs"]}
    assert read.keys() == {f"{lake}/clean/{source.name}" for source in loop.sources}
    (scored,) = events_of(loop, f"{SCOPE}.score_batch")[-1]["inputs"]
    assert (scored["name"], scored["facets"]["version"]) == (output["name"], output["facets"]["version"])
    (landed,) = events_of(loop, "trips.land_source")[-1]["inputs"]
    assert landed["name"] == str(loop.settings.landing) + "/trips"
