"""Ctrl-C and SIGTERM that cannot get lost.

Python raises `KeyboardInterrupt` wherever the main thread happens to be, and a library that is just being imported may
swallow it. So it is raised again and again, until whoever ends the work says that it has come.
"""

import signal
from types import FrameType
from typing import NoReturn

AGAIN_SECONDS = 5.0


def install_handlers() -> None:
    """Have SIGTERM, and SIGINT unless it is ignored, raise `KeyboardInterrupt` in the main thread until `settle`."""
    # the alarm brings it again; a shell has commands that it starts behind itself ignore SIGINT, and is obeyed
    for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def settle() -> None:
    """Say that the interrupt has come; what ends the work now is not disturbed."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
    raise KeyboardInterrupt
