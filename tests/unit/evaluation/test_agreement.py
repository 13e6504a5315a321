"""A refit must score like its judged twin."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from nightloop.evaluation.agreement import judge_agreement, rank_correlation
from nightloop.evaluation.params import PromotionParams

RANDOM = np.random.default_rng(0)
TWIN = RANDOM.random(1000)
LABELS = (RANDOM.random(1000) < TWIN).astype(float)
PARAMS = PromotionParams(metric="roc_auc", refresh_margin=0.01)


def test_rank_correlation_is_spearmans() -> None:
    first, second = np.round(TWIN, 1), np.round(TWIN + RANDOM.random(1000), 1)
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first, second).statistic)


@pytest.mark.parametrize(
    ("refit", "answer", "failed"),
    [
        pytest.param(TWIN * 0.98, "agree", [], id="alike"),
        pytest.param(1 - TWIN, "differ", ["rank correlation"], id="reversed"),
        pytest.param(TWIN * 0.2, "differ", ["calibration in the large"], id="far too low"),
    ],
)
def test_agreement(refit: np.ndarray, answer: str, failed: list[str]) -> None:
    verdict = judge_agreement("use_case", refit, TWIN, LABELS, PARAMS)
    assert (verdict.answer, [check.name for check in verdict.failed]) == (answer, failed)


def test_newer_data_may_bring_a_refit_nearer_to_the_outcome() -> None:
    twin, outcomes = TWIN * 10, TWIN * 20
    assert judge_agreement("use_case", TWIN * 19, twin, outcomes, PARAMS).answer == "agree"
