"""An interrupt that something swallowed comes again, and once it is settled it does not disturb."""

import subprocess
import sys

import pytest

_BEGIN = """
import os, signal, sys, time
from nightloop import interrupt
interrupt.AGAIN_SECONDS = 0.2
interrupt.install_handlers()
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
    interrupt.settle()
    time.sleep(1)
    print("ended")
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_swallowed_interrupt_comes_again_until_it_is_settled(name: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _BEGIN + _SWALLOWED, name], capture_output=True, text=True, check=True, timeout=30
    )
    assert run.stdout.split() == ["swallowed", "ended"]


def test_who_starts_a_command_that_ignores_ctrl_c_is_obeyed() -> None:
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + _BEGIN
    raised = "signal.raise_signal(signal.SIGINT); print('went on')"
    run = subprocess.run([sys.executable, "-c", ignoring + raised], capture_output=True, text=True, check=True)
    assert run.stdout == "went on\n"
