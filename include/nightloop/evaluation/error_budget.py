"""How much of its error rate one gate may spend, when gates of one use case follow each other on overlapping rows.

Alpha spending (DeMets and Lan 1994, "Interim Analysis: The Alpha Spending Function Approach"): the shares of all gates
within a year add up to the stated rate, however many there are and however their rows overlap (Bonferroni).
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from nightloop.evaluation.params import PromotionParams

_PERIOD = timedelta(days=365)


def count_recent(gates: Iterable[datetime], as_of: datetime) -> int:
    """Return how many earlier gates lie in the year before `as_of` and share its budget."""
    return sum(as_of - _PERIOD < gate < as_of for gate in gates)


def spend_error(params: PromotionParams, earlier: int) -> float:
    """Return the chance of a wrong promotion that the gate after so many earlier ones of its year may run.

    The gates before the last that was planned for spend the same; that one and each after it half of what is left.

    >>> params = PromotionParams(metric="mae", refresh_margin=0.0, confidence=0.95, gates_per_year=2)
    >>> [round(spend_error(params, earlier), 4) for earlier in range(4)]
    [0.025, 0.0125, 0.0063, 0.0031]
    """
    share = (1.0 - params.confidence) / params.gates_per_year
    # halved from the last planned gate on: halves, quarters and so on of its share never add up to more than that share
    return float(share * 0.5 ** max(0, earlier + 2 - params.gates_per_year))
