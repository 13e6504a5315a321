"""Rows and outcomes that training and judging share."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from nightloop.leakage.figure import Figure
from nightloop.leakage.levels import Floats

SHARED = "rows trained on and judged"
TWICE = "rows that stand twice"
OPEN = "labels known after the cut"
ONE_OUTCOME = "one outcome in both windows"


@dataclass(frozen=True)
class Window:
    """Labelled rows that train or judge.

    In seconds since 1970: the decision, the last event that the label counts, when the label's cohort was complete.
    """

    row_ids: NDArray[np.str_]
    entities: NDArray[np.str_]
    decided: Floats
    until: Floats
    complete: Floats


def measure_time_overlap(fit: Window, judged: Window, opened: datetime) -> list[Figure]:
    """Return what may not be at all: one row in both windows or twice in one, a label not complete when judging opens.

    Figures are numbers of rows.
    """
    at = f"as of {opened.isoformat()}"
    shared = int(np.isin(judged.row_ids, fit.row_ids).sum())
    twice = sum(len(window.row_ids) - len(np.unique(window.row_ids)) for window in (fit, judged))
    early = int((fit.complete > opened.timestamp()).sum())
    return [
        Figure(SHARED, ("row_id",), shared, "rows in both windows"),
        Figure(TWICE, ("row_id",), twice, "rows beyond the first with their row_id"),
        Figure(OPEN, ("decision_time", "label"), early, f"rows whose outcome was open {at}"),
    ]


def measure_entity_overlap(fit: Window, judged: Window) -> Figure:
    """Return the share of judged rows whose entity was trained on with an outcome window that reaches into theirs.

    One event then is the answer of both rows, and the judged figure rewards memory.
    """
    names, places = np.unique(fit.entities, return_inverse=True)
    # the last place is that of every entity which was not trained on
    reach = np.full(len(names) + 1, -np.inf)
    # an entity has many rows: an assignment by places would keep the last of them, not the furthest
    np.maximum.at(reach, places, fit.until)
    found = np.searchsorted(names, judged.entities)
    is_known = names[np.minimum(found, len(names) - 1)] == judged.entities if len(names) else np.zeros(len(found), bool)
    share = float((reach[np.where(is_known, found, len(names))] > judged.decided).mean()) if len(found) else 0.0
    return Figure(ONE_OUTCOME, (), share, "judged rows whose entity was trained on with their outcome")
