"""The gate: may a recipe score? It judges twins that were fitted as of the opening of the judging window."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nightloop.evaluation.bootstrap import GainEstimate, JudgedRows, estimate_gain
from nightloop.evaluation.metrics import IS_HIGHER_BETTER, Floats, compute_metric, find_baseline, gain
from nightloop.evaluation.params import PromotionParams
from nightloop.verdict import Check, Verdict

_LEAST_GROUP_ROWS = 50


@dataclass(frozen=True)
class Contender:
    """One recipe: its metric on the choose window, and its twin's scores of the judged rows.

    `is_champion` says that it is the champion's own recipe: family, parameters, features and their version.
    """

    name: str
    chosen: float
    scores: Floats
    is_champion: bool = False


@dataclass(frozen=True)
class Opponent:
    """What a refresh or a first model is held against: the champion as it scores today, and a model without features.

    `serving` are the champion's own scores of the judged rows; none where it was fitted after the window opened and so
    knows some of their outcomes.
    """

    baseline: tuple[float, ...]
    serving: Floats | None = None


def judge_gate(
    subject: str,
    contenders: Sequence[Contender],
    rows: JudgedRows,
    opponent: Opponent,
    params: PromotionParams,
    threshold: float = 0.5,
) -> Verdict:
    """Answer `promote`, `keep` or `not_enough_evidence`; facts name the `winner` and the `kind` of the promotion.

    The choose window cuts the contenders to one; a tie there goes to the champion's recipe. A change of recipe needs
    superiority over the champion's twin; where it has none, the champion's own recipe is looked at as a refresh, which
    needs non-inferiority; a first model needs to beat the baseline. All need the floors and the fairness limits.
    """
    champion = next((one for one in contenders if one.is_champion), None)
    winner = _choose(contenders, params)
    reference = _scores_without_features(rows, opponent) if champion is None else champion.scores
    evidence = _check_evidence(rows, params)
    if any(check.is_failed for check in evidence):
        seen = estimate_gain(rows, winner.scores, reference, params)
        lacking = "; ".join(
            f"{check.name} {check.figure:.0f} of {check.limit:.0f}" for check in evidence if check.is_failed
        )
        reason = f"{lacking}; the smallest gain in {params.metric} that could have been seen is {seen.detectable:.4g}"
        facts = {"winner": winner.name, "detectable_gain": f"{seen.detectable:.6g}"}
        return Verdict(subject, "not_enough_evidence", reason, tuple(evidence), facts=facts)
    if champion is None:
        return _conclude(subject, "first", winner, evidence, _beats_baseline(winner, rows, opponent, params, threshold))
    if winner.is_champion:
        return _conclude(subject, "refresh", winner, evidence, _refreshes(winner, rows, opponent, params, threshold))
    change = _changes(winner, champion, rows, params, threshold)
    if not any(check.is_failed for check in change.checks):
        return _conclude(subject, "change", winner, evidence, change)
    refresh = _refreshes(champion, rows, opponent, params, threshold)
    told = [Check(f"{winner.name}: {one.name}", "warn" if one.is_failed else "pass", one.figure, one.limit, one.detail)
            for one in change.checks]  # fmt: skip
    verdict = _conclude(subject, "refresh", champion, [*evidence, *told], refresh)
    return Verdict(
        subject, verdict.answer, f"{_why(winner, change)}; {verdict.reason}", verdict.checks, facts=verdict.facts
    )


@dataclass(frozen=True)
class _Case:
    """The checks of one possible promotion, and the gain it rests on."""

    checks: Sequence[Check]
    estimate: GainEstimate
    value: float


def _choose(contenders: Sequence[Contender], params: PromotionParams) -> Contender:
    def rank(one: Contender) -> tuple[float, bool]:
        value = gain(params.metric, one.chosen, 0.0)
        return (value if np.isfinite(value) else -np.inf, one.is_champion)

    return max(contenders, key=rank)


def _check_evidence(rows: JudgedRows, params: PromotionParams) -> list[Check]:
    count = len(rows.labels)
    checks = [_at_least("judged rows", count, params.min_rows)]
    if params.metric in ("roc_auc", "pr_auc", "log_loss", "brier", "accuracy"):
        checks.append(_at_least("judged positives", int((rows.labels > 0).sum()), params.min_positives))
    return checks


def _beats_baseline(
    winner: Contender, rows: JudgedRows, opponent: Opponent, params: PromotionParams, threshold: float
) -> _Case:
    estimate = estimate_gain(rows, winner.scores, _scores_without_features(rows, opponent), params)
    value = find_baseline(params.metric, rows.labels, opponent.baseline)
    detail = f"lower bound of the gain over a model without features ({params.metric} {value:.4g})"
    better = _check("beats baseline", estimate.lower > 0, estimate.lower, 0.0, detail)
    return _case([better], winner, rows, estimate, params, threshold)


def _changes(
    winner: Contender, champion: Contender, rows: JudgedRows, params: PromotionParams, threshold: float
) -> _Case:
    estimate = estimate_gain(rows, winner.scores, champion.scores, params)
    detail = f"lower bound of the gain over the champion's recipe, gain {estimate.value:.4g}"
    superior = _check(
        "superiority", estimate.lower > params.change_margin, estimate.lower, params.change_margin, detail
    )
    return _case([superior], winner, rows, estimate, params, threshold)


def _refreshes(
    champion: Contender, rows: JudgedRows, opponent: Opponent, params: PromotionParams, threshold: float
) -> _Case:
    over = champion.scores if opponent.serving is None else opponent.serving
    estimate = estimate_gain(rows, champion.scores, over, params)
    against = "itself: the champion knows outcomes of this window" if opponent.serving is None else "the champion"
    detail = f"lower bound of the gain over {against}, gain {estimate.value:.4g}"
    holds = estimate.lower >= -params.refresh_margin
    level = _check("non-inferiority", holds, estimate.lower, -params.refresh_margin, detail)
    return _case([level], champion, rows, estimate, params, threshold)


def _case(
    checks: Sequence[Check],
    one: Contender,
    rows: JudgedRows,
    estimate: GainEstimate,
    params: PromotionParams,
    threshold: float,
) -> _Case:
    value = compute_metric(params.metric, rows.labels, one.scores, threshold)
    floors = [_check_floor(metric, floor, one, rows, threshold) for metric, floor in params.floors.items()]
    fairness = [_check_fairness(name, least, one, rows, threshold) for name, least in params.fairness.items()]
    return _Case([*checks, *floors, *fairness], estimate, value)


def _check_floor(metric: str, floor: float, one: Contender, rows: JudgedRows, threshold: float) -> Check:
    value = compute_metric(metric, rows.labels, one.scores, threshold)  # type: ignore[arg-type]
    holds = value >= floor if IS_HIGHER_BETTER[metric] else value <= floor
    return _check(f"floor {metric}", holds, value, floor, "on the judged rows")


def _check_fairness(attribute: str, least: float, one: Contender, rows: JudgedRows, threshold: float) -> Check:
    """Disparate impact: least rate of selection (score ≥ threshold) of a group over the greatest, as in Fairlearn."""
    values = rows.protected[attribute]
    groups = [
        value for value, count in zip(*np.unique(values, return_counts=True), strict=True) if count >= _LEAST_GROUP_ROWS
    ]
    rates = {str(group): float((one.scores[values == group] >= threshold).mean()) for group in groups}
    if len(rates) <= 1 or max(rates.values()) == 0:
        return Check(
            f"fairness {attribute}", "warn", None, least, "fewer than two groups of 50 rows, or nobody selected"
        )
    ratio = min(rates.values()) / max(rates.values())
    told = ", ".join(f"{group} {rate:.3f}" for group, rate in sorted(rates.items()))
    return _check(f"fairness {attribute}", ratio >= least, ratio, least, f"selection rates: {told}")


def _conclude(subject: str, kind: str, one: Contender, evidence: Sequence[Check], case: _Case) -> Verdict:
    is_refused = any(check.is_failed for check in case.checks)
    reason = _why(one, case) if is_refused else f"{one.name} may score as a {kind}"
    facts = {
        "winner": one.name,
        "kind": kind,
        "value": f"{case.value:.6g}",
        "gain": f"{case.estimate.value:.6g}",
        "gain_lower": f"{case.estimate.lower:.6g}",
        "detectable_gain": f"{case.estimate.detectable:.6g}",
    }
    return Verdict(subject, "keep" if is_refused else "promote", reason, (*evidence, *case.checks), facts=facts)


def _why(one: Contender, case: _Case) -> str:
    failed = (f"{check.name} {check.figure:.4g}, limit {check.limit:.4g}" for check in case.checks if check.is_failed)
    return f"{one.name} is refused: {'; '.join(failed)}"


def _scores_without_features(rows: JudgedRows, opponent: Opponent) -> Floats:
    told = np.tile(np.asarray(opponent.baseline, np.float64), (len(rows.labels), 1))
    return told[:, 0] if told.shape[1] == 1 else told


def _at_least(name: str, found: int, limit: int) -> Check:
    return _check(name, found >= limit, found, limit, "")


def _check(name: str, holds: bool, figure: float, limit: float, detail: str) -> Check:
    return Check(name, "pass" if holds else "fail", float(figure), float(limit), detail)
