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


@pytest.fixture(scope="module")
def html() -> str:
    return draw(500)


def test_verdict_and_full_data_figures_stand_escaped_at_the_top(html: str) -> None:
    top = html[html.index("<body>") :][:6000]
    for shown in ("loans: wait", "0.3333", "2011-06-01", "&lt;script&gt;alert(1)", "PSI &lt;b&gt;"):
        assert shown in top


def test_columns_that_cannot_be_drawn_are_named(html: str) -> None:
    for named in ("void (empty)", "fixed (constant)", "nobody (empty)"):
        assert named in html


@pytest.mark.parametrize("text", ["<script>alert(1)", "<script>alert(2)"], ids=["verdict", "category"])
def test_no_value_becomes_markup(html: str, text: str) -> None:
    assert text not in html


def test_three_rows_are_drawn() -> None:
    assert "3 sampled rows" in draw(3)


def test_nothing_drawable_still_shows_the_verdict() -> None:
    frame = make_frame(10, 1)
    assert "loans: wait" in draw_report(frame, frame, ("void", "fixed"), ("nobody",), VERDICT)
