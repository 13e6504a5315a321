"""An alert is a line in the log, and a message at a webhook where one is named."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from nightloop_airflow.alert import alert_of_deadline

CONTEXT: Any = {
    "ti": SimpleNamespace(dag_id="source_trips", task_id="wait_for_files", run_id="night"),
    "exception": TimeoutError("0 of 1 files"),
}
WORDS = "source_trips.wait_for_files failed in run night: 0 of 1 files"


@pytest.fixture
def webhook() -> Iterator[Any]:
    """A server that keeps what is posted to it and answers with `status`."""
    received: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200 if self.path == "/good-token" else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_address[1]}", received=received)
        server.shutdown()


def test_an_alert_is_posted(webhook: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("NIGHTLOOP_ALERT_WEBHOOK", f"{webhook.url}/good-token")
    alert_of_deadline(CONTEXT)
    assert webhook.received == [{"text": WORDS}]
    assert f"ALERT {WORDS}" in caplog.messages


@pytest.mark.parametrize("path", ["/wrong-token", ":9/no-token"])
def test_a_webhook_that_does_not_take_it_is_said_without_its_address(
    path: str, webhook: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    address = f"{webhook.url}{path}" if path.startswith("/") else f"http://127.0.0.1{path}"
    monkeypatch.setenv("NIGHTLOOP_ALERT_WEBHOOK", address)
    with caplog.at_level(logging.WARNING, logger="nightloop_airflow"):
        alert_of_deadline(CONTEXT)
    assert [record.levelname for record in caplog.records if record.name == "nightloop_airflow.alert"] == [
        "ERROR",
        "WARNING",
    ]
    assert "token" not in caplog.text.replace(WORDS, "").split("alert.py")[-1]


def test_without_a_webhook_the_log_is_enough(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv("NIGHTLOOP_ALERT_WEBHOOK", raising=False)
    alert_of_deadline(CONTEXT)
    assert caplog.messages == [f"ALERT {WORDS}"]
