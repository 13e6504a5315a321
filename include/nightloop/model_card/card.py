"""What a model card tells, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nightloop.evaluation.explanation import Explanation
from nightloop.evaluation.scorecard import Confusion, Figure
from nightloop.verdict import Check


@dataclass(frozen=True, slots=True)
class SliceLine:
    """One group of an attribute: its rows, its mean label, its mean score, and the metric of promotion there."""

    attribute: str
    group: str
    rows: int
    mean_label: float
    mean_score: float
    metric: float


@dataclass(frozen=True, slots=True)
class Importance:
    """A column, and the share of the gain over no features that is lost without it."""

    column: str
    lost: float


@dataclass(frozen=True)
class Card:
    """One version of a use case's model.

    Figures, slices and plots are of its judged twin: the same recipe, fitted before the judging window, on rows that
    matured after; `explanation` is of the version itself. `metric` is that of promotion; `identity`, `data` and
    `lineage` are labels with their values; `plots` titles with their SVG.
    """

    title: str
    summary: str
    verdict: str
    identity: Mapping[str, str]
    data: Mapping[str, str]
    figures: Sequence[Figure]
    checks: Sequence[Check]
    metric: str
    lineage: Mapping[str, str]
    slices: Sequence[SliceLine] = ()
    importance: Sequence[Importance] = ()
    plots: Mapping[str, str] = field(default_factory=dict)
    limits: Sequence[str] = ()
    confusion: Confusion | None = None
    explanation: Explanation | None = None
