"""Events are OpenLineage's own, reach the file or the endpoint whole, and never harm the job."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from nightloop.dataset import DatasetRef
from nightloop.fault import Fault, NightloopError
from nightloop.job.context import JobContext
from nightloop.job.frame import run_job
from nightloop.job.lineage import PARENT_VARIABLE, LineageRun, Touched, name_dataset
from nightloop.run import EXIT_INPUT, EXIT_OK, EXIT_SKIPPED, JobResult
from nightloop.settings import Settings, lineage_transport
from nightloop.stores.ledger import ledger
from nightloop_airflow.lineage import find_parent

client = pytest.importorskip("openlineage.client", reason="the lock of requirements.in holds it")

NIGHT = datetime(2025, 1, 5, 2, tzinfo=UTC)
CLEAN, FEATURES = DatasetRef("clean", "trips"), DatasetRef("features", "taxi", "v1")
PARENT = "nightloop/nightly_taxi.build_features/0195d2a0-7c6e-7b3c-9c3e-111111111111"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG", "OPENLINEAGE__TRANSPORT", "OPENLINEAGE_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NIGHTLOOP_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    ledger.migrate(f"sqlite:///{tmp_path}/ledger.db")
    rows = pa.table({"n": [1.5], "night": ["20250105T0200Z"], "variant": ["main"]})
    for ref in (CLEAN, FEATURES):
        write_deltalake(tmp_path / "lake" / ref.path, rows, partition_by=["night", "variant"])
    return tmp_path


def read_events(home: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (home / "lineage" / "events.jsonl").read_text().splitlines()]


def run(body: Any, home: Path) -> int:
    return run_job("probe", body, ["--scope", "taxi", "--kind", "platform", "--as-of", NIGHT.isoformat()])


def emit(home: Path, touched: Touched, *, is_done: bool = True) -> dict[str, Any]:
    run = LineageRun("taxi.build_features", NIGHT, Settings.from_environment({"NIGHTLOOP_HOME": str(home)}), {})
    run.start()
    run.finish(touched, 0 if is_done else 65, is_done=is_done)
    return read_events(home)[-1]


def typed(event: dict[str, Any]) -> Any:
    """Build the client's own event from a line; its classes refuse what they do not know."""
    from openlineage.client import event_v2
    from openlineage.client.generated import (
        column_lineage_dataset,
        dataset_version_dataset,
        error_message_run,
        job_type_job,
        nominal_time_run,
        output_statistics_output_dataset,
        parent_run,
        schema_dataset,
        tags_run,
    )

    classes = {
        "columnLineage": column_lineage_dataset.ColumnLineageDatasetFacet,
        "version": dataset_version_dataset.DatasetVersionDatasetFacet,
        "errorMessage": error_message_run.ErrorMessageRunFacet,
        "jobType": job_type_job.JobTypeJobFacet,
        "nominalTime": nominal_time_run.NominalTimeRunFacet,
        "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet,
        "parent": parent_run.ParentRunFacet,
        "schema": schema_dataset.SchemaDatasetFacet,
        "tags": tags_run.TagsRunFacet,
    }

    def facets_of(found: dict[str, Any]) -> dict[str, Any]:
        known = {name: {key: value for key, value in facet.items() if key[0] != "_"} for name, facet in found.items()}
        for name, facet in found.items():
            assert facet["_schemaURL"] == classes[name]._get_schema()
        return {name: classes[name](**facet) for name, facet in known.items()}

    def dataset(kind: Any, found: dict[str, Any], own: str) -> Any:
        facets = {"facets": facets_of(found["facets"]), own: facets_of(found[own])}
        return kind(namespace=found["namespace"], name=found["name"], **facets)

    return event_v2.RunEvent(
        eventTime=event["eventTime"],
        eventType=event_v2.RunState[event["eventType"]],
        producer=event["producer"],
        run=event_v2.Run(event["run"]["runId"], facets_of(event["run"]["facets"])),
        job=event_v2.Job(event["job"]["namespace"], event["job"]["name"], facets_of(event["job"]["facets"])),
        inputs=[dataset(event_v2.InputDataset, one, "inputFacets") for one in event["inputs"]],
        outputs=[dataset(event_v2.OutputDataset, one, "outputFacets") for one in event["outputs"]],
    )


def test_a_job_run_leaves_a_beginning_and_an_end_with_what_it_read(home: Path) -> None:
    def read(job: JobContext) -> JobResult:
        from nightloop.run import Replay

        job.lake_files.open(CLEAN, Replay("taxi", (NIGHT,)))
        job.files_read += ["/landing/trips", "/landing/trips"]
        return job.result()

    assert run(read, home) == EXIT_OK
    begun, ended = read_events(home)
    assert [typed(event).eventType.value for event in (begun, ended)] == ["START", "COMPLETE"]
    assert begun["run"]["runId"] == ended["run"]["runId"]
    assert [(one["name"], one["facets"].get("version", {}).get("datasetVersion")) for one in ended["inputs"]] == [
        (f"{home}/lake/clean/trips", "0"),
        ("/landing/trips", None),
    ]
    tags = {tag["key"]: tag["value"] for tag in ended["run"]["facets"]["tags"]["tags"]}
    assert tags["run_key"] == "taxi/20250105T0200Z/main"
    assert tags["code"]


@pytest.mark.parametrize(
    ("ending", "code", "state"),
    [
        pytest.param(NightloopError(Fault("clean/trips", "no secret", "hunter2")), EXIT_INPUT, "FAIL", id="a fault"),
        pytest.param(None, EXIT_SKIPPED, "COMPLETE", id="nothing to do"),
    ],
)
def test_an_ending_is_told_without_its_words(home: Path, ending: Exception | None, code: int, state: str) -> None:
    def end(job: JobContext) -> JobResult:
        if ending is None:
            job.skip("hunter2")
        raise ending

    assert run(end, home) == code
    event = read_events(home)[-1]
    assert typed(event).eventType.value == state
    assert "hunter2" not in (home / "lineage" / "events.jsonl").read_text()
    if state == "FAIL":
        assert event["run"]["facets"]["errorMessage"]["message"] == "exit code 65"


def test_an_output_tells_version_schema_rows_and_where_its_columns_come_from(home: Path) -> None:
    origins = {"n": ("trips.trip_distance", "weather.wind_kph"), "constant": ()}
    event = emit(home, Touched({CLEAN: 4}, {FEATURES: (7, 260)}, origins=lambda _: origins))
    (output,) = typed(event).outputs
    assert output.facets["version"].datasetVersion == "7"
    assert [column["name"] for column in output.facets["schema"].fields] == ["n", "night", "variant"]
    assert output.outputFacets["outputStatistics"].rowCount == 260
    made = output.facets["columnLineage"].fields
    assert made.keys() == {"n"}
    raw = [(one["namespace"], one["name"], one["field"]) for one in made["n"]["inputFields"]]
    assert raw == [
        ("file", f"{home}/lake/raw/trips", "trip_distance"),
        ("file", f"{home}/lake/raw/weather", "wind_kph"),
    ]


def test_the_airflow_task_is_the_parent(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PARENT_VARIABLE, PARENT)
    parent = typed(emit(home, Touched())).run.facets["parent"]
    assert "/".join((parent.job["namespace"], parent.job["name"], parent.run["runId"])) == PARENT
    monkeypatch.setenv(PARENT_VARIABLE, "nonsense")
    assert "parent" not in emit(home, Touched())["run"]["facets"]


def test_a_task_without_a_provider_or_with_one_switched_off_names_no_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENLINEAGE_DISABLED", "true")
    assert find_parent({}) == {}  # type: ignore[typeddict-item]


def write_many(home: str, worker: int, count: int) -> None:
    settings = Settings.from_environment({"NIGHTLOOP_HOME": home})
    for _ in range(count):
        LineageRun(f"taxi.worker{worker}", NIGHT, settings, {"padding": "x" * 30_000}).start()


def test_events_of_many_processes_stand_on_lines_of_their_own(home: Path) -> None:
    workers, count = 4, 25
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        list(pool.map(write_many, [str(home)] * workers, range(workers), [count] * workers))
    names = [event["job"]["name"] for event in read_events(home)]
    assert sorted(names) == sorted(f"taxi.worker{worker}" for worker in range(workers) for _ in range(count))


@pytest.fixture
def endpoint() -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    received: list[tuple[str, dict[str, Any]]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, json.loads(body)))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()


def test_an_endpoint_takes_the_place_of_the_file(
    home: Path, endpoint: tuple[str, list[tuple[str, dict[str, Any]]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, received = endpoint
    monkeypatch.setenv("OPENLINEAGE_URL", url)
    assert run(lambda job: job.result(), home) == EXIT_OK
    assert [(path, event["eventType"]) for path, event in received] == [
        ("/api/v1/lineage", "START"),
        ("/api/v1/lineage", "COMPLETE"),
    ]
    assert not (home / "lineage" / "events.jsonl").exists()


def test_a_job_whose_events_cannot_be_written_is_done_all_the_same(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "lineage").write_text("in the way")
    assert run(lambda job: job.result(), home) == EXIT_OK
    assert "WARNING nightloop.lineage: no OpenLineage event" in capsys.readouterr().out


def test_openlineages_own_variables_win_over_the_file(home: Path) -> None:
    assert lineage_transport(home, {})["transport"]["log_file_path"] == f"{home}/lineage/events.jsonl"
    keyed = {"OPENLINEAGE_URL": "http://marquez", "OPENLINEAGE_API_KEY": "k"}
    assert lineage_transport(home, keyed)["transport"]["auth"] == {"type": "api_key", "apiKey": "k"}
    for chosen in ("OPENLINEAGE_CONFIG", "OPENLINEAGE__TRANSPORT__TYPE", "OPENLINEAGE_DISABLED"):
        assert lineage_transport(home, {chosen: "something"}) == {}
        assert lineage_transport(home, {chosen: ""})


def test_the_form_of_a_run_and_the_words_of_an_error_stay_in_airflow() -> None:
    from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
    from openlineage.client.facet_v2 import error_message_run

    from nightloop.job.lineage_values import SEE_LOG, DropValues

    facets = {
        "airflow": SimpleNamespace(dagRun={"conf": {"subject": "hunter2"}, "run_id": "manual"}),
        "errorMessage": error_message_run.ErrorMessageRunFacet("found hunter2", "python", "Traceback: hunter2"),
    }
    run = Run("0195d2a0-7c6e-7b3c-9c3e-111111111111", facets=facets)
    event = RunEvent(
        eventTime=NIGHT.isoformat(), eventType=RunState.FAIL, run=run, job=Job("nightloop", "erase"), producer="airflow"
    )
    kept = DropValues({}).transform(event).run.facets
    assert kept["airflow"].dagRun == {"run_id": "manual"}
    assert (kept["errorMessage"].message, kept["errorMessage"].stackTrace) == (SEE_LOG, None)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        pytest.param("/state/lake/raw/trips", ("file", "/state/lake/raw/trips"), id="path"),
        pytest.param("s3a://bucket/lake/raw/trips", ("s3://bucket", "lake/raw/trips"), id="object"),
        pytest.param("postgresql://me:hunter2@db/trips?password=x", ("postgresql://db", "trips"), id="no secrets"),
    ],
)
def test_datasets_are_named_by_convention(address: str, expected: tuple[str, str]) -> None:
    assert name_dataset(address) == expected
