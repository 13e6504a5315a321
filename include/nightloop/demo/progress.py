"""What the demo tells while it works: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from textwrap import shorten

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

_NOTE_CHARACTERS = 150


@dataclass
class Step:
    """One step of the story."""

    title: str
    started: float = field(default_factory=time.monotonic)
    seconds: float | None = None
    note: str = ""
    is_failed: bool = False

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started if self.seconds is None else self.seconds


class Progress:
    """Steps with their seconds; `phases` sums them for the closing summary."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.steps: list[Step] = []
        self._live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        if not self.console.is_terminal:
            yield
            return
        with Live(get_renderable=self._table, console=self.console, refresh_per_second=2) as live:
            self._live = live
            yield
        self._live = None

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        step = Step(title)
        self.steps.append(step)
        if self._live is None:
            self._say(f"… {title}")
        try:
            yield step
        except BaseException:
            step.is_failed = True
            raise
        finally:
            step.seconds = step.elapsed
            if self._live is None:
                mark = "✗" if step.is_failed else "✓"
                self._say(f"{mark} {title}  {step.seconds:.0f} s  {step.note}".rstrip())

    @property
    def phases(self) -> dict[str, float]:
        return {step.title: round(step.elapsed, 1) for step in self.steps}

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for heading in ("", "step", "seconds", ""):
            table.add_column(heading, overflow="fold")
        for step in self.steps:
            mark = "[red]✗" if step.is_failed else "[green]✓" if step.seconds is not None else "[yellow]…"
            note = shorten(step.note, _NOTE_CHARACTERS, placeholder=" …")
            # as `Text`: rich takes brackets in a plain string for markup
            table.add_row(mark, Text(step.title), f"{step.elapsed:.0f}", Text(note))
        return table

    def _say(self, line: str) -> None:
        """Print one whole line, as a log wants it."""
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)
