"""The model card tells everything on one page, runs nothing, and is the same for the same input."""

from dataclasses import replace

import numpy as np
import pytest

from nightloop.evaluation.bootstrap import JudgedRows
from nightloop.evaluation.explanation import DependencePoint, Explanation, GroupDrivers
from nightloop.evaluation.scorecard import count_decisions, measure_model
from nightloop.model_card.card import Card, Importance, SliceLine
from nightloop.model_card.page import render_card
from nightloop.model_card.plots import draw_plots
from nightloop.verdict import Check

RANDOM = np.random.default_rng(4)
SCORES = RANDOM.random(500)
LABELS = (RANDOM.random(500) < SCORES).astype(float)
POINTS = [DependencePoint(at, 40, mean, mean - 0.1, mean + 0.2) for at, mean in ((1.0, -0.2), (2.5, 0.1))]
EXPLANATION = Explanation(
    rows=80,
    base=0.2,
    importance={"income": 0.11, "housing": 0.02, "age": 0.0},
    dependence={"income": POINTS, "housing": [DependencePoint("<i>rent</i>", 60, 0.1, 0.0, 0.2)], "age": []},
    drivers=[GroupDrivers("housing", "rent", 60, {"income": 0.0321, "age": -0.004})],
)
ROWS = JudgedRows(LABELS, np.zeros(500), np.arange(500))


@pytest.fixture(scope="module")
def card() -> Card:
    return Card(
        title="loan_default, version 3",
        summary="Whether a loan <b>defaults</b>.",
        verdict="linear may score as a change",
        identity={"family": "linear"},
        data={"rows trained on": "12,000"},
        figures=measure_model(ROWS, SCORES, np.full(500, LABELS.mean()), "binary"),
        checks=[Check("floor roc_auc", "pass", 0.81, 0.6, "on the judged rows"), Check("fairness", "warn", None, 0.7)],
        metric="roc_auc",
        lineage={"code": "abc"},
        slices=[SliceLine("housing", "<script>alert(1)</script>", 200, 0.2, 0.21, 0.8)],
        importance=[Importance("income", 0.5), Importance("age", -0.1)],
        plots=draw_plots(LABELS, SCORES, "binary"),
        limits=["Only loans that were granted."],
        confusion=count_decisions(LABELS, SCORES, 0.5),
        explanation=EXPLANATION,
    )


def test_every_part_is_on_the_page(card: Card) -> None:
    page = render_card(card)
    for text in ("loan_default, version 3", "ROC AUC", "floor roc_auc", "housing", "income", "50.0 %", "12,000",
                 "Only loans that were granted.", "true and", "calibration error", "What moves its scores",
                 "income +0.0321, age -0.004"):  # fmt: skip
        assert text in page, text
    assert page.count("<svg") == 4, "two curves, and what two columns do to the score"


def test_a_category_cannot_run_anything(card: Card) -> None:
    page = render_card(card)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<i>rent" not in page
    assert "Whether a loan &lt;b&gt;defaults&lt;/b&gt;." in page
    assert "default-src 'none'" in page


def test_the_same_card_is_the_same_page(card: Card) -> None:
    assert render_card(card) == render_card(replace(card, plots=draw_plots(LABELS, SCORES, "binary")))


def test_other_tasks_have_plots_of_their_own() -> None:
    assert list(draw_plots(LABELS * 10, SCORES * 10, "regression")) == ["Told and found, by tenths of the score"]
    shares = RANDOM.dirichlet([1, 1, 1], 500)
    assert len(draw_plots(RANDOM.integers(0, 3, 500).astype(float), shares, "multiclass")) == 2


def test_a_card_of_little_says_little(card: Card) -> None:
    bare = render_card(replace(card, slices=(), importance=(), plots={}, confusion=None, explanation=None))
    for text in ("Groups", "What it rests on", "What moves its scores", "<svg"):
        assert text not in bare
