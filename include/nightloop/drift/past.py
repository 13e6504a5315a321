"""What earlier verdicts mean for tonight: what is acknowledged, what rests, what was reported, what falls due."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from nightloop.drift.feed import MEMORY_NIGHTS, FaultLog, FeedFault
from nightloop.run import parse_instant

DRIFT = "drift"
DRIFT_REPLAY = "drift-replay"


class PastVerdict(Protocol):
    """An earlier drift verdict, as the ledger keeps it."""

    @property
    def as_of(self) -> datetime: ...
    @property
    def answer(self) -> str: ...
    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def facts(self) -> Mapping[str, str]: ...


def choose_kind(earlier: str | None, *, is_backfill: bool) -> str:
    """Return the kind under which a verdict is kept; what a replay decided first never becomes a request by a rerun."""
    return DRIFT_REPLAY if is_backfill or earlier == DRIFT_REPLAY else DRIFT


def recall_open_request(earlier: PastVerdict | None, asked: Iterable[datetime], as_of: datetime) -> datetime | None:
    """Return the request that is open in a night; a rerun sees the one that the night saw when it was decided first."""
    if earlier is None:
        return max((night for night in asked if night < as_of), default=None)
    text = earlier.facts.get("open_request")
    return parse_instant(text) if text else None


def list_acknowledged(past: Sequence[PastVerdict]) -> list[datetime]:
    """Return the first changed night of each wait and retrain: there an acknowledged population begins."""
    return [parse_instant(verdict.facts["since"]) for verdict in past if "since" in verdict.facts]


def list_baseline(verdict: PastVerdict) -> list[datetime]:
    """Return the nights that a change of population was measured against; none for other verdicts."""
    return [parse_instant(night) for night in verdict.facts.get("baseline", "").split()]


def find_resting(past: Sequence[PastVerdict], nights: Sequence[datetime], cooldown_nights: int) -> set[str]:
    """Return the columns named by a wait or retrain in the last `cooldown_nights` nights; they give no second alarm."""
    recent = nights[-cooldown_nights:] if cooldown_nights else ()
    named = (v.columns for v in past if v.answer in {"wait", "retrain"} and recent and v.as_of >= recent[0])
    return {column for columns in named for column in columns}


def find_unreported(
    tonight: Sequence[FeedFault], faults: FaultLog, past: Sequence[PastVerdict], nights: Sequence[datetime]
) -> tuple[FeedFault, ...]:
    """Return tonight's faults that no `investigate` has named since they began.

    A fault that comes back within two weeks of nights, as on every Sunday, is still the same one.
    """
    return tuple(fault for fault in tonight if not _is_reported(fault.column, faults, past, nights))


def find_due_wait(
    past: Sequence[PastVerdict], as_of: datetime, cut: datetime, matures_at: Callable[[datetime], datetime]
) -> PastVerdict | None:
    """Return the oldest wait that is over: its cohort matured after the champion's cut, and nobody retrained since."""
    for wait in past:
        if wait.answer != "wait":
            continue
        due = matures_at(parse_instant(wait.facts["since"]))
        is_done = any(v.answer == "retrain" and v.as_of >= due for v in past)
        if cut < due <= as_of and not is_done:
            return wait
    return None


def _is_reported(column: str, faults: FaultLog, past: Sequence[PastVerdict], nights: Sequence[datetime]) -> bool:
    reports = {v.as_of for v in past if v.answer == "investigate" and column in v.columns}
    quiet = 0
    for night in reversed(nights[:-1]):
        is_broken = any(fault.column == column for fault in faults.get(night, ()))
        if is_broken and night in reports:
            return True
        quiet = 0 if is_broken else quiet + 1
        if quiet >= MEMORY_NIGHTS:
            return False
    return False
