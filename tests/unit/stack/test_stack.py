"""The real stack starts, serves, heals and ends."""

import json
import os
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from nightloop.fault import NightloopError
from nightloop.settings import Settings
from nightloop.stack.process import find_marked
from nightloop.stack.stack import Stack, StackState, find_stack

pytestmark = [pytest.mark.slow, pytest.mark.stack]


def read_status(url: str, token: str | None = None) -> int:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def sign_in(stack: Stack, password: str) -> str:
    body = json.dumps({"username": stack.user, "password": password}).encode()
    request = urllib.request.Request(
        f"{stack.airflow_url}/auth/token", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["access_token"])


def test_stack_serves_heals_and_leaves_nothing_behind(tmp_path: Path) -> None:
    settings = Settings.from_environment({"NIGHTLOOP_HOME": str(tmp_path)})
    with Stack(settings) as stack:
        dags = f"{stack.airflow_url}/api/v2/dags"
        assert read_status(dags) == 401
        with pytest.raises(urllib.error.HTTPError, match="401") as refused:
            sign_in(stack, "admin")
        refused.value.close()
        assert read_status(dags, sign_in(stack, stack.password)) == 200
        assert read_status(f"{stack.mlflow_url}/health") == 200

        with pytest.raises(NightloopError, match="it runs"):
            Stack(settings).start()

        state = StackState.read(tmp_path)
        assert state
        os.kill(state.processes["spark"].pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while not (stack.restarts["spark"] == 1 and stack._server.is_ready()):
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert find_stack(tmp_path) is None
    assert find_marked(stack.stack_id) == []
