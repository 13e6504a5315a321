"""Gates on overlapping rows promote an equal model as seldom as stated, and still find a better one."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightloop.evaluation.bootstrap import JudgedRows, estimate_gain
from nightloop.evaluation.error_budget import count_recent, spend_error
from nightloop.evaluation.params import PromotionParams

MONTHS, JUDGED_MONTHS, ROWS_PER_MONTH = 14, 3, 120
PARAMS = PromotionParams(metric="roc_auc", refresh_margin=0.0, confidence=0.95, resamples=200)


@given(st.integers(1, 60), st.floats(0.6, 0.999), st.integers(0, 400))
def test_a_year_never_spends_more_than_it_has(planned: int, confidence: float, gates: int) -> None:
    params = PARAMS.model_copy(update={"gates_per_year": planned, "confidence": confidence})
    assert sum(spend_error(params, earlier) for earlier in range(gates)) <= (1 - confidence) * (1 + 1e-9)


def test_only_gates_of_the_last_year_share_its_budget() -> None:
    now = datetime(2025, 6, 1, tzinfo=UTC)
    gates = [now - timedelta(days=days) for days in (0, 1, 364, 366, 800)]
    assert count_recent(gates, now) == 2


def promotes(seed: int, edge: float) -> bool:
    """Say whether any of twelve monthly gates promotes a challenger whose noise is less by `edge` of its size."""
    random = np.random.default_rng(seed)
    rows = MONTHS * ROWS_PER_MONTH
    truth = random.normal(size=rows)
    labels = (random.random(rows) < 1 / (1 + np.exp(-truth))).astype(float)
    champion, challenger = (truth + size * random.normal(size=rows) for size in (1.0, 1.0 - edge))
    months, entities = np.repeat(np.arange(MONTHS), ROWS_PER_MONTH), np.arange(rows)
    for gate in range(MONTHS - JUDGED_MONTHS + 1):
        mask = (months >= gate) & (months < gate + JUDGED_MONTHS)
        judged = JudgedRows(labels[mask], months[mask], entities[mask])
        found = estimate_gain(judged, challenger[mask], champion[mask], PARAMS, spend_error(PARAMS, gate), seed)
        if found.lower > 0:
            return True
    return False


@pytest.mark.slow
def test_a_thousand_equal_pairs_are_promoted_within_the_stated_rate(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = sum(promotes(seed, edge=0.0) for seed in range(1000))
    power = sum(promotes(seed, edge=0.5) for seed in range(200)) / 200
    with capsys.disabled():
        print(f"\nwrong promotions in 12 overlapping gates: {wrong / 1000:.1%} (stated 5 %); power: {power:.0%}")  # noqa: T201
    assert wrong <= 1000 * (1 - PARAMS.confidence)
    assert power > 0.5
