"""Ctrl-C in the middle of the demo's story ends everything that the demo had started."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nightloop.commands.cli import EXIT_INTERRUPTED
from nightloop.settings import CHECKOUT
from nightloop.stack.process import find_marked
from nightloop.stack.stack import StackState

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.timeout(600)]

# a shell that starts a command behind itself has it ignore SIGINT, and children inherit that
_DEMO = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from nightloop.commands.cli import main
main()
"""
_STORY_BEGINS = "taxi_duration: simulate"
_PATIENCE_SECONDS = 300


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupted_story_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    home, told = tmp_path / "home", tmp_path / "told.log"
    with told.open("wb") as sink:
        demo = subprocess.Popen(
            [sys.executable, "-c", _DEMO, "demo"],
            cwd=CHECKOUT,
            env={**os.environ, "NIGHTLOOP_HOME": str(home)},
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while _STORY_BEGINS not in told.read_text():
            assert demo.poll() is None, told.read_text()
            assert time.monotonic() < deadline, told.read_text()
            time.sleep(0.2)
        stack = StackState.read(home)
        assert stack is not None
        demo.send_signal(number)
        assert demo.wait(_PATIENCE_SECONDS) == EXIT_INTERRUPTED
    finally:
        demo.kill()
    assert len(stack.processes) > 5
    assert [name for name, identity in stack.processes.items() if identity.find()] == []
    assert find_marked(stack.stack_id) == []
    assert StackState.read(home) is None
    assert "starting it again" not in told.read_text()
