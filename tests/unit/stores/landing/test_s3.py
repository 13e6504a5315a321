"""The landing zone on S3: moto's server over HTTP, and before it a line that breaks when told to."""

import gzip
import hashlib
import http.client
import io
import os
import socketserver
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightloop.etl.header import read_columns
from nightloop.fault import NightloopError, TransientError
from nightloop.stores.landing import s3
from nightloop.stores.landing.landing import (
    LandedFile,
    compute_checksum,
    land_file,
    list_files,
    open_file,
    replace_content,
)

pytestmark = pytest.mark.filterwarnings("ignore")
ARRIVED = datetime(2025, 1, 2, 1, 50, tzinfo=UTC)
FOLDER = "s3://landing/loans"


class Line(socketserver.ThreadingTCPServer):
    """A line to S3 that answers the next requests with 503, or breaks off in the middle of the next bodies."""

    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = (host, port)
        self.refusals = self.breaks = 0
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Line
    protocol_version = "HTTP/1.1"

    def _pass(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.refusals:
            self.server.refusals -= 1
            refusal = b"<Error><Code>SlowDown</Code></Error>"
            self._answer(503, [("Content-Length", str(len(refusal)))], refusal)
            return
        with closing(http.client.HTTPConnection(*self.server.behind)) as onward:
            onward.request(self.command, self.path, body, dict(self.headers))
            answer = onward.getresponse()
            content = answer.read()
        if self.server.breaks and self.command == "GET" and "Range" in self.headers:
            self.server.breaks -= 1
            self._answer(answer.status, [("Content-Length", str(len(content)))], content[: len(content) // 2])
            self.close_connection = True
            return
        skipped = {"transfer-encoding", "connection"}
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in skipped]
        self._answer(answer.status, headers, content)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass  # noqa: N815 - names of http.server

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    moto_server = pytest.importorskip("moto.server")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with Line(*server.get_host_and_port()) as opened:
        threading.Thread(target=opened.serve_forever, daemon=True).start()
        yield opened
        opened.shutdown()
    server.stop()


@pytest.fixture
def client(line: Line, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An S3 with an empty bucket `landing`, as the environment names it."""
    environment = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**environment, "AWS_ENDPOINT_URL": line.url}.items():
        monkeypatch.setenv(name, value)
    s3.open_client.cache_clear()
    opened = s3.open_client()
    opened.create_bucket(Bucket="landing")
    yield opened
    line.refusals = line.breaks = 0
    for entry in opened.list_objects_v2(Bucket="landing").get("Contents", ()):
        opened.delete_object(Bucket="landing", Key=entry["Key"])
    opened.delete_bucket(Bucket="landing")
    s3.open_client.cache_clear()


def only_file() -> LandedFile:
    (file,) = list_files(FOLDER, "unused")
    return file


def test_objects_arrive_when_their_metadata_says_or_else_when_modified(client: Any) -> None:
    client.put_object(Bucket="landing", Key="loans/a.csv", Body=b"x", Metadata={"arrived-at": ARRIVED.isoformat()})
    client.put_object(Bucket="landing", Key="loans/b.csv", Body=b"y")
    client.put_object(Bucket="landing", Key="loans/sub/", Body=b"")
    client.put_object(Bucket="landing", Key="loans2/c.csv", Body=b"z")
    first, second = list_files(FOLDER, "unused")
    assert (first.path, first.address, first.arrived_at) == ("a.csv", "s3a://landing/loans/a.csv", ARRIVED)
    assert (second.path, second.is_settled) == ("b.csv", True)
    assert second.arrived_at > ARRIVED
    assert compute_checksum(second) == hashlib.sha256(b"y").hexdigest()


def test_more_objects_than_a_page_holds_are_listed(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        client.put_object(Bucket="landing", Key=f"loans/{number}.csv", Body=b"x")
    whole = client.get_paginator("list_objects_v2").paginate
    paginator = type("Small", (), {"paginate": lambda _, **kwargs: whole(**kwargs, PaginationConfig={"PageSize": 3})})
    monkeypatch.setattr(client, "get_paginator", lambda _: paginator())
    assert [file.path for file in list_files(FOLDER, "unused")] == [f"{number}.csv" for number in range(7)]


def test_an_object_uploaded_in_parts_is_read_in_ranges(client: Any, line: Line) -> None:
    content = os.urandom(1 << 20) * 20
    upload = client.create_multipart_upload(Bucket="landing", Key="loans/a.csv")["UploadId"]
    named = {"Bucket": "landing", "Key": "loans/a.csv", "UploadId": upload}
    parts = [content[start : start + (7 << 20)] for start in range(0, len(content), 7 << 20)]
    tags = [
        {"PartNumber": number, "ETag": client.upload_part(**named, PartNumber=number, Body=part)["ETag"]}
        for number, part in enumerate(parts, 1)
    ]
    assert list_files(FOLDER, "unused") == []
    client.complete_multipart_upload(**named, MultipartUpload={"Parts": tags})
    file = only_file()
    line.requests.clear()
    assert (file.size, file.etag.strip('"')[-2:]) == (len(content), "-3")
    assert compute_checksum(file) == hashlib.sha256(content).hexdigest()
    assert line.requests == ["GET /landing/loans/a.csv"] * 3


def test_refused_requests_and_broken_bodies_are_tried_again(client: Any, line: Line) -> None:
    content = gzip.compress(b"id,note\n1,a\n")
    client.put_object(Bucket="landing", Key="loans/a.csv.gz", Body=content)
    line.refusals = 2
    file = only_file()
    line.breaks, line.refusals = 2, 1
    assert compute_checksum(file) == hashlib.sha256(content).hexdigest()
    assert (line.breaks, line.refusals) == (0, 0)
    with open_file(file) as stream:
        assert [column.name for column in read_columns(stream, "csv", file.path)] == ["id", "note"]


def test_s3_that_goes_on_failing_is_worth_another_attempt_of_the_task(client: Any, line: Line) -> None:
    client.put_object(Bucket="landing", Key="loans/a.csv", Body=b"x")
    file = only_file()
    line.refusals = 99
    with pytest.raises(TransientError, match="SlowDown"):
        compute_checksum(file)


def test_an_object_replaced_since_it_was_listed_is_not_read(client: Any) -> None:
    client.put_object(Bucket="landing", Key="loans/a.csv", Body=b"before")
    file = only_file()
    client.put_object(Bucket="landing", Key="loans/a.csv", Body=b"behind")
    with pytest.raises(TransientError, match="replaced"):
        compute_checksum(file)


def test_only_the_end_of_a_parquet_object_is_fetched_for_its_schema(client: Any, line: Line) -> None:
    stream = io.BytesIO()
    pq.write_table(pa.table({"id": pa.array(range(1_000_000), pa.int64())}), stream, compression="none")
    client.put_object(Bucket="landing", Key="loans/a.parquet", Body=stream.getvalue())
    file = only_file()
    with open_file(file) as opened:
        assert [column.type for column in read_columns(opened, "parquet", file.path)] == ["bigint"]
        assert opened.tell() > file.size // 2


def test_a_landed_object_arrived_when_told_and_is_never_replaced(client: Any, tmp_path: Path) -> None:
    for content in (os.urandom(9 << 20), b"second"):
        (tmp_path / "out").write_bytes(content)
        land_file(tmp_path / "out", FOLDER, "a.parquet", ARRIVED)
    file = only_file()
    assert (file.path, file.size, file.arrived_at) == ("a.parquet", 9 << 20, ARRIVED)


def test_a_bucket_that_does_not_exist_is_a_clear_error(client: Any) -> None:
    with pytest.raises(NightloopError, match="NoSuchBucket"):
        list_files("s3://nowhere/loans", "unused")


def test_a_replaced_object_keeps_its_arrival(client: Any) -> None:
    client.put_object(Bucket="landing", Key="loans/a.csv", Body=b"x", Metadata={"arrived-at": ARRIVED.isoformat()})
    file = only_file()
    assert replace_content(file, b"new") == 3
    again = only_file()
    assert (again.arrived_at, again.size) == (file.arrived_at, 3)
    with open_file(again) as stream:
        assert stream.read() == b"new"
