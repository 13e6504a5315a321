"""What one decision may read."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, Self

from nightloop.drift.feed import FaultLog, find_feed_faults
from nightloop.drift.history import History, Profiled, build_history
from nightloop.drift.params import DriftParams
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
    """Who scores tonight: fitted as of `cut`, champion of the nights after `since`, held to `yardstick`."""

    version: int
    cut: datetime
    since: datetime
    yardstick: Yardstick


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
    matures_at: Callable[[datetime], datetime]
    past: Sequence[PastVerdict] = ()
    metrics: Sequence[Measured] = ()
    maturity: Sequence[Matured] = ()
    champion: Champion | None = None
    open_request: datetime | None = None

    @classmethod
    def gather(
        cls,
        scope: str,
        profiles: Iterable[Profiled],
        params: DriftParams,
        *,
        matures_at: Callable[[datetime], datetime],
        metrics: Sequence[Measured] = (),
        maturity: Sequence[Matured] = (),
    ) -> Self:
        """Lay the ledger's rows out once for many nights; `replace` then sets what differs from night to night."""
        history = build_history(profiles)
        as_of = history.nights[-1] if history.nights else datetime.min.replace(tzinfo=UTC)
        faults = find_feed_faults(history, params)
        return cls(scope, as_of, history, faults, matures_at, metrics=metrics, maturity=maturity)
