"""An interrupt that something swallowed comes again, and once it is settled it does not disturb."""

import subprocess
import sys

import pytest

# who starts the tests behind a shell has them ignore SIGINT, and children inherit that
_BEGIN = """
import os, signal, sys, time
signal.signal(signal.SIGINT, {handler})
from nightloop.stack import signals
signals.AGAIN_SECONDS = 0.2
signals.install_handlers()
"""
_SWALLOWED = """
try:
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    time.sleep(10)
except BaseException:
    print("swallowed")
try:
    time.sleep(10)
except KeyboardInterrupt:
    signals.settle()
    time.sleep(1)
    print("ended")
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_swallowed_interrupt_comes_again_until_it_is_settled(name: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _BEGIN.format(handler="signal.default_int_handler") + _SWALLOWED, name],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert run.stdout.split() == ["swallowed", "ended"]


def test_who_starts_a_command_that_ignores_ctrl_c_is_obeyed() -> None:
    raised = "signal.raise_signal(signal.SIGINT); print('went on')"
    code = _BEGIN.format(handler="signal.SIG_IGN") + raised
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "went on\n"
