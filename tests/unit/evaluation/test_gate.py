"""The gate: who may score, who may not, and why."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from nightloop.evaluation.bootstrap import JudgedRows
from nightloop.evaluation.checks import Contender
from nightloop.evaluation.gate import Opponent, judge_gate
from nightloop.evaluation.params import FairnessLimits, PromotionParams
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
    """Calibrated scores that know the truth but for noise: 0 is the best there is."""
    told = (TRUTH + noise * np.random.default_rng(seed).normal(size=3000)).reshape(-1, 1)
    return LogisticRegression().fit(told, LABELS).predict_proba(told)[:, 1]


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


def refused(contender: Contender, **update: object) -> list[str]:
    """Return the names of the checks that refuse a first model."""
    verdict = judge(contender, params=PARAMS.model_copy(update=update))
    assert verdict.answer == ("keep" if verdict.failed else "promote")
    return [check.name for check in verdict.failed]


@pytest.mark.parametrize(
    ("limits", "names"),
    [
        pytest.param({"disparate_impact": 0.9}, ["fairness sex: disparate impact"], id="ratio"),
        pytest.param({"selection_rate": 0.05}, ["fairness sex: selection rate"], id="difference"),
        pytest.param({"equal_opportunity": 0.05}, ["fairness sex: equal opportunity"], id="opportunity"),
        pytest.param({"disparate_impact": 0.1, "selection_rate": 0.9, "equal_opportunity": 0.9}, [], id="fair"),
    ],
)
def test_an_unfair_model_is_refused(limits: dict[str, float], names: list[str]) -> None:
    assert refused(contender("linear", 0.5), fairness={"sex": FairnessLimits(**limits)}) == names


def test_fairness_looks_at_the_decision_that_people_want() -> None:
    limits = {"sex": FairnessLimits(disparate_impact=0.7)}
    assert refused(contender("linear", 0.5), fairness=limits) == ["fairness sex: disparate impact"]
    assert refused(contender("linear", 0.5), fairness=limits, favourable_decision=0) == []


def test_a_miscalibrated_model_is_refused() -> None:
    honest = contender("linear", 0.5)
    boastful = Contender("linear", 0.7, honest.scores**0.3)
    assert refused(honest) == []
    assert refused(boastful) == ["calibration"]
    assert refused(boastful, calibration_error=0.4) == []


def test_a_champion_that_is_further_off_is_not_kept() -> None:
    """After a drift a challenger that saw little of the new world is off, and still the better choice."""
    off = replace(contender("challenger", 0.3), chosen=0.8)
    off = replace(off, scores=off.scores**0.3)
    champion = contender("champion", 1.0, is_champion=True)
    further = replace(champion, scores=champion.scores**0.15)
    assert judge_gate("use_case", [champion, off], ROWS, OPPONENT, PARAMS).facts["winner"] == "champion"
    verdict = judge_gate("use_case", [further, off], ROWS, OPPONENT, PARAMS)
    assert (verdict.answer, verdict.facts["winner"]) == ("promote", "challenger")
    (line,) = (check for check in verdict.checks if check.name == "calibration")
    assert "over the limit of 0.1, as the champion's is" in line.detail


def test_a_model_that_noise_makes_useless_is_refused() -> None:
    fragile = replace(contender("linear", 0.5), disturbed={"noise": scores(8.0), "without age": scores(4.0)})
    verdict = judge(fragile)
    assert [check.name for check in verdict.failed] == ["robust to noise"]
    (missing,) = (check for check in verdict.checks if check.name == "robust to a missing column")
    assert (missing.outcome, missing.detail.split(",")[0]) == ("warn", "without age")


def test_an_artifact_over_its_budget_is_refused() -> None:
    heavy = replace(contender("linear", 0.5), size_mb=30.0, ms_per_1000_rows=9.0)
    assert refused(heavy, max_size_mb=20, max_ms_per_1000_rows=5) == ["size in MB", "ms per 1,000 rows"]
    assert refused(heavy) == []


def test_a_change_that_costs_one_group_is_refused() -> None:
    groups = np.where(np.arange(3000) % 5 == 0, "rural", "urban")
    rows = replace(ROWS, slices={"area": groups})
    better, worse = scores(0.3), scores(6.0)
    mixed = Contender("challenger", 0.8, np.where(groups == "rural", worse, better))
    champion = contender("champion", 1.5, is_champion=True)
    verdict = judge_gate("use_case", [champion, mixed], rows, OPPONENT, PARAMS)
    assert (verdict.answer, verdict.facts["winner"]) == ("promote", "champion")
    assert "challenger is refused: slices of area" in verdict.reason
    assert judge_gate("use_case", [champion, mixed], ROWS, OPPONENT, PARAMS).facts["winner"] == "challenger"


def test_a_refresh_must_still_beat_a_model_without_features() -> None:
    guess = Contender("champion", 0.7, RANDOM.random(3000), is_champion=True)
    verdict = judge(guess, params=PromotionParams(metric="roc_auc", refresh_margin=1.0, calibration_error=1.0))
    assert (verdict.answer, [check.name for check in verdict.failed]) == ("keep", ["beats baseline"])


def test_later_gates_of_a_year_need_a_clearer_gain() -> None:
    champion = contender("champion", 1.0, is_champion=True)
    challenger = contender("challenger", 0.4, chosen=0.8, seed=5)
    first = judge_gate("use_case", [champion, challenger], ROWS, OPPONENT, PARAMS)
    late = judge_gate("use_case", [champion, challenger], ROWS, OPPONENT, PARAMS, earlier_gates=40)
    assert (first.facts["kind"], late.facts["kind"]) == ("change", "refresh")
    assert "superiority" in late.reason


def test_errors_count_the_other_way_round() -> None:
    values = TRUTH * 10
    rows = JudgedRows(values, ROWS.cohorts, ROWS.entities)
    params = PromotionParams(metric="mae", refresh_margin=0.1, floors={"mae": 6.0})
    champion = Contender("champion", 6.0, values + RANDOM.normal(0, 5, 3000), is_champion=True)
    better = Contender("challenger", 3.0, values + RANDOM.normal(0, 2, 3000))
    verdict = judge_gate("use_case", [champion, better], rows, Opponent((0.0,)), params)
    assert (verdict.answer, verdict.facts["winner"]) == ("promote", "challenger")
    assert float(verdict.facts["gain"]) > 2
