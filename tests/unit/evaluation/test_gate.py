"""The gate: who may score, who may not, and why."""

import numpy as np
import pytest

from nightloop.evaluation.bootstrap import JudgedRows
from nightloop.evaluation.gate import Contender, Opponent, judge_gate
from nightloop.evaluation.params import PromotionParams
from nightloop.verdict import Verdict

RANDOM = np.random.default_rng(3)
TRUTH = RANDOM.normal(size=3000)
LABELS = (RANDOM.random(3000) < 1 / (1 + np.exp(1.5 - 1.5 * TRUTH))).astype(float)
ROWS = JudgedRows(
    LABELS,
    np.repeat(["c1", "c2", "c3"], 1000),
    np.array([f"e{number % 1500}" for number in range(3000)]),
    {"sex": np.where(TRUTH + RANDOM.normal(size=3000) > 0, "f", "m")},
)
PARAMS = PromotionParams(metric="roc_auc", refresh_margin=0.01, floors={"roc_auc": 0.6})
OPPONENT = Opponent((float(LABELS.mean()),))


def scores(noise: float, seed: int = 0) -> np.ndarray:
    """Scores that know the truth but for noise: 0 is the best there is."""
    return 1 / (1 + np.exp(-(TRUTH + noise * np.random.default_rng(seed).normal(size=3000))))


def contender(name: str, noise: float, *, is_champion: bool = False, chosen: float = 0.7, seed: int = 0) -> Contender:
    return Contender(name, chosen, scores(noise, seed), is_champion)


def judge(*contenders: Contender, params: PromotionParams = PARAMS, opponent: Opponent = OPPONENT) -> Verdict:
    return judge_gate("use_case", contenders, ROWS, opponent, params)


def test_the_first_model_must_pass_the_floors() -> None:
    good, weak = judge(contender("linear", 0.5)), judge(contender("linear", 4.0))
    assert (good.answer, good.facts["kind"]) == ("promote", "first")
    assert weak.answer == "keep"
    assert [check.name for check in weak.failed] == ["floor roc_auc"]


def test_the_first_model_must_beat_a_model_without_features() -> None:
    guess = Contender("linear", 0.7, RANDOM.random(3000))
    verdict = judge(guess, params=PromotionParams(metric="roc_auc", refresh_margin=0.01))
    assert verdict.answer == "keep"
    assert "beats baseline" in verdict.reason


def test_the_choose_window_cuts_the_candidates_to_one() -> None:
    verdict = judge(contender("chosen", 2.0, chosen=0.8), contender("better_on_judged", 0.1, chosen=0.7))
    assert verdict.facts["winner"] == "chosen"


def test_a_better_change_is_promoted() -> None:
    verdict = judge(contender("champion", 2.0, is_champion=True), contender("challenger", 0.5, chosen=0.8))
    assert (verdict.answer, verdict.facts["winner"], verdict.facts["kind"]) == ("promote", "challenger", "change")


def test_an_equal_change_falls_back_to_the_refresh() -> None:
    verdict = judge(contender("champion", 1.0, is_champion=True), contender("challenger", 1.0, chosen=0.8, seed=1))
    assert (verdict.answer, verdict.facts["winner"], verdict.facts["kind"]) == ("promote", "champion", "refresh")
    assert "challenger is refused: superiority" in verdict.reason


def test_a_change_within_the_margin_is_refused() -> None:
    strict = PARAMS.model_copy(update={"change_margin": 0.2})
    verdict = judge(
        contender("champion", 2.0, is_champion=True), contender("challenger", 0.5, chosen=0.8), params=strict
    )
    assert verdict.facts["winner"] == "champion"


def test_a_tie_on_the_choose_window_goes_to_the_champion() -> None:
    verdict = judge(contender("challenger", 1.0), contender("champion", 1.0, is_champion=True))
    assert (verdict.facts["winner"], verdict.facts["kind"]) == ("champion", "refresh")


@pytest.mark.parametrize(
    ("noise", "answer"),
    [pytest.param(1.0, "promote", id="equal"), pytest.param(3.0, "keep", id="worse")],
)
def test_a_refresh_is_held_against_the_serving_champion(noise: float, answer: str) -> None:
    serving = Opponent(OPPONENT.baseline, scores(1.0))
    verdict = judge(contender("champion", noise, is_champion=True, seed=noise == 3.0), opponent=serving)
    assert verdict.answer == answer


def test_a_refresh_below_the_floor_is_refused() -> None:
    verdict = judge(contender("champion", 4.0, is_champion=True))
    assert verdict.answer == "keep"
    assert "floor roc_auc" in verdict.reason


@pytest.mark.parametrize(
    ("update", "check"),
    [
        pytest.param({"min_rows": 5000}, "judged rows", id="rows"),
        pytest.param({"min_positives": 2000}, "judged positives", id="positives"),
    ],
)
def test_too_little_evidence_says_what_it_could_have_seen(update: dict[str, int], check: str) -> None:
    verdict = judge(
        contender("champion", 2.0, is_champion=True),
        contender("challenger", 0.5, chosen=0.8),
        params=PARAMS.model_copy(update=update),
    )
    assert verdict.answer == "not_enough_evidence"
    assert check in verdict.reason
    assert 0 < float(verdict.facts["detectable_gain"]) < 0.1


@pytest.mark.parametrize(
    ("least", "answer"), [pytest.param(0.9, "keep", id="unfair"), pytest.param(0.1, "promote", id="fair")]
)
def test_disparate_impact_is_limited(least: float, answer: str) -> None:
    assert (
        judge(contender("linear", 0.5), params=PARAMS.model_copy(update={"fairness": {"sex": least}})).answer == answer
    )


def test_errors_count_the_other_way_round() -> None:
    values = TRUTH * 10
    rows = JudgedRows(values, ROWS.cohorts, ROWS.entities)
    params = PromotionParams(metric="mae", refresh_margin=0.1, floors={"mae": 6.0})
    champion = Contender("champion", 6.0, values + RANDOM.normal(0, 5, 3000), is_champion=True)
    better = Contender("challenger", 3.0, values + RANDOM.normal(0, 2, 3000))
    verdict = judge_gate("use_case", [champion, better], rows, Opponent((0.0,)), params)
    assert (verdict.answer, verdict.facts["winner"]) == ("promote", "challenger")
    assert float(verdict.facts["gain"]) > 2
