"""The landing zone, local and on S3."""

import gzip
import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightloop.fault import NightloopError
from nightloop.stores.keys import load_key_ring
from nightloop.stores.landing import compute_checksum, list_files, open_file, replace_content

ARRIVED = datetime(2025, 1, 2, 1, 50, tzinfo=UTC)


def test_local_files_arrive_at_their_modification_time(tmp_path: Path) -> None:
    for name in (
        "loans/b.csv",
        "loans/sub/a.csv.gz",
        "loans/.hidden",
        "loans/_SUCCESS",
        "loans/c.csv.partial",
        "other/d.csv",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(b"x") if name.endswith(".gz") else b"x")
        os.utime(path, (ARRIVED.timestamp(), ARRIVED.timestamp()))
    files = list_files("loans", str(tmp_path))
    assert [(file.path, file.arrived_at) for file in files] == [("b.csv", ARRIVED), ("sub/a.csv.gz", ARRIVED)]
    assert compute_checksum(files[0]) == hashlib.sha256(b"x").hexdigest()
    with open_file(files[1]) as stream:
        assert stream.read() == b"x"


def test_folder_that_does_not_exist_yet_is_empty(tmp_path: Path) -> None:
    assert list_files("loans", str(tmp_path)) == []


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    moto_server = pytest.importorskip("moto.server")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    import boto3

    client = boto3.client("s3")
    client.create_bucket(Bucket="landing")
    client.put_object(Bucket="landing", Key="loans/a.csv", Body=b"x", Metadata={"arrived-at": ARRIVED.isoformat()})
    client.put_object(Bucket="landing", Key="loans/b.csv", Body=b"y")
    yield "s3://landing/loans"
    server.stop()


@pytest.mark.filterwarnings("ignore")
def test_objects_arrive_when_their_metadata_says_or_else_when_modified(bucket: str) -> None:
    first, second = list_files(bucket, "unused")
    assert (first.path, first.address, first.arrived_at) == ("a.csv", "s3a://landing/loans/a.csv", ARRIVED)
    assert second.arrived_at > ARRIVED
    assert compute_checksum(second) == hashlib.sha256(b"y").hexdigest()


@pytest.mark.filterwarnings("ignore")
def test_replaced_object_keeps_its_arrival(bucket: str) -> None:
    for file in list_files(bucket, "unused"):
        assert replace_content(file, b"new") == 3
        with open_file(file) as stream:
            assert stream.read() == b"new"
        (again,) = (one for one in list_files(bucket, "unused") if one.path == file.path)
        assert (again.arrived_at, again.size) == (file.arrived_at, 3)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_replaced_file_keeps_its_arrival_and_compression(tmp_path: Path, name: str) -> None:
    path = tmp_path / "loans" / name
    path.parent.mkdir()
    path.write_bytes(gzip.compress(b"old") if name.endswith(".gz") else b"old")
    os.utime(path, ns=(1, 1_700_000_000_123_456_789))
    (file,) = list_files("loans", str(tmp_path))
    size = replace_content(file, b"newer")
    (again,) = list_files("loans", str(tmp_path))
    assert (again.arrived_at, again.size) == (file.arrived_at, size)
    with open_file(again) as stream:
        assert stream.read() == b"newer"
    assert [path] == list(path.parent.iterdir())


def test_key_is_drawn_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    key = load_key_ring(tmp_path, {}).current
    assert (load_key_ring(tmp_path, {}).current, len(key)) == (key, 64)
    assert load_key_ring(tmp_path, {"NIGHTLOOP_PII_KEY": "k" * 32}).current == b"k" * 32
    (tmp_path / "pii.key").chmod(0o644)
    with pytest.raises(NightloopError, match="chmod 600"):
        load_key_ring(tmp_path, {})


def test_short_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NightloopError, match="NIGHTLOOP_PII_KEY"):
        load_key_ring(tmp_path, {"NIGHTLOOP_PII_KEY": "short"})
