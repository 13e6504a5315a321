"""What the simulator must know of one source."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from nightloop.simulate.draw import Draw
from nightloop.simulate.plan import Plan, PlannedFile

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Feed:
    """One simulated source.

    `write_rows` turns a frame of row numbers into the source's columns; `plan_files` says what arrives for a night.
    The rest says how each fault looks: a column and the text that spoils it.
    """

    source: str
    columns: tuple[str, ...]
    write_rows: "Callable[[DataFrame, Draw], DataFrame]"
    plan_files: Callable[[Plan, datetime], Iterator[PlannedFile]]
    unparseable: tuple[str, str]
    out_of_range: tuple[str, str]
    missing_key: str
    correction: Mapping[str, str] = field(default_factory=dict)
    tombstone: str | None = None


@dataclass(frozen=True)
class World:
    """The simulated sources of one use case, and its season: factors by weekday or by month."""

    feeds: tuple[Feed, ...]
    season: tuple[float, ...]
    season_by: Literal["weekday", "month"] = "weekday"
