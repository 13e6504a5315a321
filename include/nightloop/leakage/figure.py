"""What a rule found of some columns, and how it becomes a check."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nightloop.leakage.params import Limit
from nightloop.verdict import Check, CheckOutcome


@dataclass(frozen=True, slots=True)
class Figure:
    """One rule's figure of the columns that it names together."""

    rule: str
    columns: tuple[str, ...]
    value: float
    detail: str = ""


def judge_figures(figures: Sequence[Figure], limit: Limit, allowed: Mapping[str, str], rule: str) -> list[Check]:
    """Return a check for every figure from `warn` on, highest first; one that passes for the highest of the others.

    A figure over the limit that names an allowed column is a warning with the reason.
    """
    ordered = sorted(figures, key=lambda figure: (-figure.value, figure.columns))
    told = [_judge(figure, limit, allowed) for figure in ordered if figure.value >= limit.warn]
    quiet = [figure for figure in ordered if figure.value < limit.warn]
    if told or not quiet:
        return told or [Check(rule, "pass", None, limit.fail, "nothing to look at")]
    named = f"highest of {len(quiet)}: {', '.join(quiet[0].columns)}, " if len(quiet) > 1 else ""
    return [Check(rule, "pass", quiet[0].value, limit.fail, named + quiet[0].detail)]


def _judge(figure: Figure, limit: Limit, allowed: Mapping[str, str]) -> Check:
    outcome: CheckOutcome = "fail" if figure.value >= limit.fail else "warn"
    detail = figure.detail
    reasons = [f"{name} is allowed: {allowed[name]}" for name in figure.columns if name in allowed]
    if reasons:
        outcome, detail = "warn", "; ".join([detail, *reasons])
    name = f"{figure.rule}: {', '.join(figure.columns)}" if figure.columns else figure.rule
    return Check(name, outcome, figure.value, limit.fail, detail)
