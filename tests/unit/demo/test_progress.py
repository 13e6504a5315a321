"""What the demo tells is whole and as it was said, on a terminal and in a log."""

import io

import pytest
from rich.console import Console

from nightloop.demo.progress import Progress

NOTE = "retrain: mae in [0.1, 0.2] " + "and so on " * 30 + "since 2025-03-24"


def tell(*, is_terminal: bool) -> str:
    told = io.StringIO()
    progress = Progress(Console(file=told, width=60, force_terminal=is_terminal, color_system=None))
    with progress.shown(), progress.step("night [1]") as step:
        step.note = NOTE
    return told.getvalue()


def test_a_log_has_one_line_for_the_beginning_and_one_for_the_end() -> None:
    assert tell(is_terminal=False).splitlines() == ["… night [1]", f"✓ night [1]  0 s  {NOTE}"]


def test_a_terminal_shows_the_beginning_of_a_long_note() -> None:
    table = tell(is_terminal=True)
    assert "night [1]" in table
    assert "[0.1, 0.2]" in table
    assert "since" not in table


def test_a_step_that_fails_is_marked() -> None:
    told = io.StringIO()
    progress = Progress(Console(file=told))
    with pytest.raises(ValueError, match="gone"), progress.step("night"):
        raise ValueError("gone")
    assert told.getvalue().splitlines()[-1].startswith("✗ night")
    assert list(progress.phases) == ["night"]
