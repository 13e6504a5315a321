"""What one decision may read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from nightloop.drift.feed import FaultLog
from nightloop.drift.history import History
from nightloop.drift.past import PastVerdict
from nightloop.drift.performance import Measured, Yardstick


class Matured(Protocol):
    """How many labels of one cohort can be observed once it has matured, as the ledger keeps it."""

    @property
    def cohort_as_of(self) -> datetime: ...
    @property
    def matures_at(self) -> datetime: ...
    @property
    def observed(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Champion:
    """Who scores tonight: fitted as of `cut`, champion of the nights after `since`."""

    version: int
    cut: datetime
    since: datetime


@dataclass(frozen=True)
class DecisionInputs:
    """Everything that one decision may read. Rows later than `as_of` are allowed and have no effect.

    `faults` are those of `find_feed_faults` over the same history. `matures_at` gives the night at which a cohort's
    labels are complete. `open_request` is the night of a request that was open when this night was first decided.
    """

    scope: str
    as_of: datetime
    history: History
    faults: FaultLog
    yardstick: Yardstick
    matures_at: Callable[[datetime], datetime]
    past: Sequence[PastVerdict] = ()
    metrics: Sequence[Measured] = ()
    maturity: Sequence[Matured] = ()
    champion: Champion | None = None
    open_request: datetime | None = None
