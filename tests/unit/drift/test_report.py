"""The report shows our verdict above Evidently's drawing, whatever the columns hold."""

import numpy as np
import pandas as pd
import pytest

from nightloop.drift.report import draw_report
from nightloop.verdict import Check, Verdict

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Evidently's import warns, thrice

VERDICT = Verdict(
    "loans",
    "wait",
    "share of '<script>alert(1)</script>' 0.0% → 18.4%",
    (Check("distance of term", "fail", 0.33333, 0.1, "PSI <b>"),),
    ("term",),
    {"until": "2011-06-01"},
)


def make_frame(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "amount": rng.normal(size=rows),
            "void": np.full(rows, np.nan),
            "fixed": np.full(rows, 7.0),
            "term": rng.choice(["36", "60", "<script>alert(2)</script>"], rows),
            "nobody": [None] * rows,
        }
    )


def draw(rows: int) -> str:
    frames = make_frame(rows, 1), make_frame(rows, 2)
    return draw_report(*frames, ("amount", "void", "fixed"), ("term", "nobody"), VERDICT)


def test_verdict_and_full_data_figures_stand_escaped_at_the_top() -> None:
    html = draw(500)
    top = html[html.index("<body>") :][:6000]
    assert "loans: wait" in top
    assert "0.3333" in top
    assert "2011-06-01" in top
    assert "&lt;script&gt;alert(1)" in top
    assert "<script>alert(1)" not in html


def test_columns_that_cannot_be_drawn_are_named() -> None:
    html = draw(500)
    for named in ("void (empty)", "fixed (constant)", "nobody (empty)"):
        assert named in html


def test_a_category_never_becomes_markup() -> None:
    assert "<script>alert(2)" not in draw(500)


def test_a_frame_of_three_rows_is_drawn() -> None:
    assert "3 sampled rows" in draw(3)
