"""Faults: what was expected, what was found, where, and what to do about it. Standard library only."""

from collections.abc import Iterable
from dataclasses import dataclass

_LOST = (
    "UNAVAILABLE",
    "SESSION_CLOSED",
    "SESSION_CHANGED",
    "SESSION_NOT_FOUND",
    "OPERATION_NOT_FOUND",
    "OPERATION_CANCELED",
    "NO_ACTIVE_SESSION",
    "Connection refused",
    "database is locked",
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with an input."""

    where: str
    expected: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: expected {self.expected}, found {self.found}"
        return f"{text} — {self.remedy}" if self.remedy else text


class NightloopError(Exception):
    """An error the user can act on: every fault at once. A retry of the same input does not help."""

    def __init__(self, faults: Iterable[Fault] | Fault) -> None:
        self.faults = (faults,) if isinstance(faults, Fault) else tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class FencedError(NightloopError):
    """A newer attempt of the same run key owns the dataset; this attempt's write did not count."""


class TransientError(Exception):
    """Something outside failed for now (a lost Spark session, a locked database): run the same attempt again."""


def is_lost(message: object) -> bool:
    """Tell by its words whether an error says that a server or a session was lost, or stopped by a newer attempt.

    Whatever was asked then is not at fault; whoever blames an input for an error asks this first.

    >>> is_lost("[INVALID_HANDLE.SESSION_CLOSED] The handle is invalid."), is_lost("[UNRESOLVED_COLUMN] `fare`")
    (True, False)
    """
    return any(mark in str(message) for mark in _LOST)
