"""Verdicts: an answer, its reason, and the checks with their figures. Standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

CheckOutcome = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a verdict: what was looked at, the figure found, and the limit it was held against."""

    name: str
    outcome: CheckOutcome
    figure: float | None = None
    limit: float | None = None
    detail: str = ""

    @property
    def is_failed(self) -> bool:
        return self.outcome == "fail"


@dataclass(frozen=True)
class Verdict:
    """An answer about one subject, with everything needed to explain it a year later.

    `answer` comes from the closed set of its kind: suites say `pass` or `fail`; the gate `promote`, `keep` or
    `not_enough_evidence`; the drift decision `nothing`, `investigate`, `wait` or `retrain`.
    """

    subject: str
    answer: str
    reason: str
    checks: tuple[Check, ...] = ()
    columns: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.is_failed)
