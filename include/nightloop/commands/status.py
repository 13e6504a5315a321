"""`nightloop status`: each use case's champion, last night and last verdict, from the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from nightloop.folders.use_case import UseCase

if TYPE_CHECKING:
    from nightloop.stores.ledger.ledger import Ledger

_NONE = "—"


@dataclass(frozen=True)
class Standing:
    """Where one use case stands."""

    use_case: str
    champion: str
    last_night: datetime | None
    verdict: str
    open_requests: int


def read_standing(ledger: "Ledger", use_case: str) -> Standing:
    """Read one use case's standing; a dash means that there is none yet."""
    nights = ledger.closed_nights(use_case)
    verdicts = ledger.verdicts(use_case)
    history = ledger.champion_history(use_case)
    model = ledger.model(use_case, history[-1].version) if history else None
    champion = f"version {model.version} · {model.recipe['family']}" if model else _NONE
    verdict = f"{verdicts[-1].answer}: {verdicts[-1].reason}" if verdicts else _NONE
    return Standing(use_case, champion, nights[-1] if nights else None, verdict, len(ledger.open_requests(use_case)))


def print_lake(root: str, console: Console) -> None:
    """Print what every table of the lake holds, read from the files themselves."""
    from nightloop.stores.lake.files import LakeFiles
    from nightloop.stores.lake.sizes import TableSize, measure_lake

    names = [entry.name for entry in fields(TableSize)]
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name.replace("_", " "), justify="left" if name == "table" else "right", overflow="fold")
    for size in measure_lake(LakeFiles(root)):
        table.add_row(*(str(getattr(size, name)) for name in names))
    console.print(table)


def print_status(ledger: "Ledger", use_cases: Sequence[UseCase], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("use case", "champion", "last night", "last verdict", "open requests"):
        table.add_column(heading, overflow="fold")
    for use_case in use_cases:
        standing = read_standing(ledger, use_case.name)
        night = standing.last_night.strftime("%Y-%m-%d %H:%MZ") if standing.last_night else _NONE
        table.add_row(standing.use_case, standing.champion, night, standing.verdict, str(standing.open_requests))
    console.print(table)
