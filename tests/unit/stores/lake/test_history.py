"""A table loses what its newest version does not need, and nothing else; local and on S3."""

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from pyarrow import fs

from nightloop.dataset import DatasetRef
from nightloop.engine.server import find_free_port
from nightloop.privacy.traces import compile_traces
from nightloop.stores.lake.history import LakeHistory, abandoned_since
from nightloop.stores.trace_search import search_folder

REF = DatasetRef("clean", "loans")
NIGHTS = ("20250101T0000Z", "20250102T0000Z")
SOON = datetime.now(UTC) + timedelta(days=1)

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("moto.server")
    port = find_free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # delta-rs keeps the GIL
    settings = {"ENDPOINT_URL": f"http://127.0.0.1:{port}", "ALLOW_HTTP": "true", "DEFAULT_REGION": "us-east-1"}
    keys = {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "S3_ALLOW_UNSAFE_RENAME": "true"}
    for name, value in (settings | keys).items():
        monkeypatch.setenv(f"AWS_{name}", value)
    import boto3
    import botocore.exceptions

    deadline = time.monotonic() + 30
    while True:
        try:
            boto3.client("s3").create_bucket(Bucket="lake")
            break
        except botocore.exceptions.EndpointConnectionError:
            assert time.monotonic() < deadline, "the S3 server did not come up"
            time.sleep(0.2)
    yield "s3a://lake/tables"
    server.terminate()
    server.wait(30)


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return request.getfixturevalue("s3") if request.param == "s3" else str(tmp_path / "lake")


def write(root: str, night: str, *names: str, token: int) -> None:
    rows = pa.table({"name": names, "night": [night] * len(names), "variant": ["main"] * len(names)})
    properties = CommitProperties(app_transactions=[Transaction(f"run-{night}", token)])
    address = f"{root.replace('s3a', 's3')}/{REF.path}"
    options = {"partition_by": ["night", "variant"], "commit_properties": properties}
    if DeltaTable.is_deltatable(address):
        write_deltalake(address, rows, mode="overwrite", predicate=f"night = '{night}'", **options)  # type: ignore[arg-type]
    else:
        write_deltalake(address, rows, **options)  # type: ignore[arg-type]


def test_what_a_rerun_left_behind_goes_and_fencing_stays(root: str) -> None:
    write(root, NIGHTS[0], "Ada-4711", "Ben-4711", token=1)
    write(root, NIGHTS[1], "Cleo-4711", token=2)
    write(root, NIGHTS[0], "Ben-4711", token=3)
    history = LakeHistory(root)
    files = history.data_files(REF)
    assert history.tables() == [REF]
    assert sorted((file.night, file.is_live) for file in files) == [
        (NIGHTS[0], False),
        (NIGHTS[0], True),
        (NIGHTS[1], True),
    ]
    dead, young, logs = history.list_history(REF, history.checkpoint(REF), abandoned_since(120))
    assert [file.is_live for file in dead] == [False]
    assert (young, len(logs)) == ([], 2)
    history.remove([*(file.path for file in dead), *logs])

    table = DeltaTable(f"{root.replace('s3a', 's3')}/{REF.path}")
    assert sorted(table.to_pyarrow_table().column("name").to_pylist()) == ["Ben-4711", "Cleo-4711"]
    assert [table.transaction_version(f"run-{night}") for night in NIGHTS] == [3, 2]
    assert {history.read(file, ["name"]).num_rows for file in history.data_files(REF)} == {1}
    if "://" not in root:
        assert list(search_folder(Path(root), compile_traces(["Ada-4711"]))) == []
    write(root, NIGHTS[1], "Dan-4711", token=4)
    assert sorted(
        history.read(file).column("name").to_pylist() for file in history.data_files(REF) if file.is_live
    ) == [
        ["Ben-4711"],
        ["Dan-4711"],
    ]


def test_a_file_that_no_version_names_stays_until_it_counts_as_abandoned(root: str) -> None:
    write(root, NIGHTS[0], "Ada-4711", token=1)
    history = LakeHistory(root)
    (file,) = history.data_files(REF)
    pending = file.path.replace("part-", "part-9")
    files = fs.LocalFileSystem() if "://" not in root else fs.FileSystem.from_uri("s3://lake")[0]
    files.copy_file(file.path, pending)
    found = [history.list_history(REF, 0, abandoned)[:2] for abandoned in (abandoned_since(120), SOON)]
    assert [([one.path for one in dead], [one.path for one in young]) for dead, young in found] == [
        ([], [pending]),
        ([pending], []),
    ]
