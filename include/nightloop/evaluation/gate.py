"""The gate: may a recipe score? It judges twins that were fitted as of the opening of the judging window."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nightloop.evaluation.bootstrap import GainEstimate, JudgedRows, estimate_gain
from nightloop.evaluation.checks import Contender, check, check_model, check_slices
from nightloop.evaluation.error_budget import spend_error
from nightloop.evaluation.metrics import (
    Floats,
    compute_metric,
    find_baseline,
    gain,
    score_without_features,
)
from nightloop.evaluation.params import METRICS_OF_TASK, PromotionParams
from nightloop.verdict import Check, Verdict

_KINDS = {"first": "the first model", "change": "a change", "refresh": "a refresh"}


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
    earlier_gates: int = 0,
) -> Verdict:
    """Answer `promote`, `keep` or `not_enough_evidence`; facts name the `winner` and the `kind` of the promotion.

    The choose window cuts the contenders to one; a tie there goes to the champion's recipe. A change of recipe needs
    superiority over the champion's twin, at what is left of the year's error rate after `earlier_gates`; where it has
    none, the champion's own recipe is looked at as a refresh, which needs non-inferiority; a first model needs to be
    better than none. All must beat a model without features and pass every limit of `params`.
    """
    return _Gate(subject, rows, opponent, params, threshold, earlier_gates).judge(contenders)


@dataclass(frozen=True)
class _Case:
    """The checks of one possible promotion, and the gain it rests on."""

    kind: str
    one: Contender
    checks: Sequence[Check]
    estimate: GainEstimate
    value: float

    @property
    def is_refused(self) -> bool:
        return any(check.is_failed for check in self.checks)

    @property
    def reason(self) -> str:
        if not self.is_refused:
            return f"{self.one.name} may score as {_KINDS[self.kind]}"
        failed = (f"{line.name} {line.figure:.4g}, limit {line.limit:.4g}" for line in self.checks if line.is_failed)
        return f"{self.one.name} is refused: {'; '.join(failed)}"

    @property
    def facts(self) -> dict[str, str]:
        return {
            "winner": self.one.name,
            "kind": self.kind,
            "value": f"{self.value:.6g}",
            "gain": f"{self.estimate.value:.6g}",
            "gain_lower": f"{self.estimate.lower:.6g}",
            "detectable_gain": f"{self.estimate.detectable:.6g}",
        }


@dataclass(frozen=True)
class _Gate:
    """One sitting of the gate: rows, opponent and limits are the same for every contender."""

    subject: str
    rows: JudgedRows
    opponent: Opponent
    params: PromotionParams
    threshold: float
    earlier_gates: int

    def judge(self, contenders: Sequence[Contender]) -> Verdict:
        champion = next((one for one in contenders if one.is_champion), None)
        winner = max(contenders, key=self._rank)
        evidence = tuple(self._check_evidence())
        if any(line.is_failed for line in evidence):
            return self._lacks_evidence(winner, champion, evidence)
        if champion is None:
            return self._conclude(self._first(winner), evidence)
        if winner.is_champion:
            return self._conclude(self._refresh(winner), evidence)
        change = self._change(winner, champion)
        if not change.is_refused:
            return self._conclude(change, evidence)
        # what refused the change is told as a warning: it must not refuse the refresh
        told = tuple(
            replace(line, name=f"{winner.name}: {line.name}", outcome="warn" if line.is_failed else line.outcome)
            for line in change.checks
        )
        verdict = self._conclude(self._refresh(champion), (*evidence, *told))
        return replace(verdict, reason=f"{change.reason}; {verdict.reason}")

    def _rank(self, one: Contender) -> tuple[float, bool]:
        value = gain(self.params.metric, one.chosen, 0.0)
        # as NaN compares with nothing, the order of the contenders would decide
        return (value if np.isfinite(value) else -np.inf, one.is_champion)

    def _check_evidence(self) -> Iterator[Check]:
        rows, least = len(self.rows.labels), self.params.min_rows
        yield check("judged rows", rows, least, holds=rows >= least)
        if self.params.metric not in METRICS_OF_TASK["regression"]:
            positives, least = int((self.rows.labels > 0).sum()), self.params.min_positives
            yield check("judged positives", positives, least, holds=positives >= least)

    def _lacks_evidence(self, winner: Contender, champion: Contender | None, evidence: tuple[Check, ...]) -> Verdict:
        reference, metric = self._without_features if champion is None else champion.scores, self.params.metric
        seen = estimate_gain(self.rows, winner.scores, reference, self.params, self._error)
        lacking = "; ".join(f"{line.name} {line.figure:.0f} of {line.limit:.0f}" for line in evidence if line.is_failed)
        reason = f"{lacking}; the smallest gain in {metric} that could have been seen is {seen.detectable:.4g}"
        facts = {"winner": winner.name, "detectable_gain": f"{seen.detectable:.6g}"}
        return Verdict(self.subject, "not_enough_evidence", reason, evidence, facts=facts)

    def _first(self, winner: Contender) -> _Case:
        return self._case("first", winner, None, None, ())

    def _change(self, winner: Contender, champion: Contender) -> _Case:
        error, margin = spend_error(self.params, self.earlier_gates), self.params.change_margin
        estimate = estimate_gain(self.rows, winner.scores, champion.scores, self.params, error)
        detail = (
            f"gain {estimate.value:.4g} over the champion's recipe, lower bound at a chance of error of {error:.2g}"
        )
        line = check("superiority", estimate.lower, margin, holds=estimate.lower > margin, detail=detail)
        slices = check_slices(winner, champion.scores, self.rows, self.params, self._error)
        return self._case("change", winner, self._serving(champion), estimate, (line, *slices))

    def _refresh(self, champion: Contender) -> _Case:
        over, margin = self._serving(champion), self.params.refresh_margin
        estimate = estimate_gain(self.rows, champion.scores, over, self.params, self._error)
        knows = self.opponent.serving is None
        against = "itself: the champion knows outcomes of this window" if knows else "the champion"
        detail = f"gain {estimate.value:.4g} over {against}, lower bound"
        line = check("non-inferiority", estimate.lower, -margin, holds=estimate.lower >= -margin, detail=detail)
        slices = check_slices(champion, over, self.rows, self.params, self._error)
        return self._case("refresh", champion, over, estimate, (line, *slices))

    def _serving(self, champion: Contender) -> Floats:
        """Return the scores of the model that goes on scoring if nothing is promoted, or those of its twin."""
        return champion.scores if self.opponent.serving is None else self.opponent.serving

    def _case(
        self, kind: str, one: Contender, over: Floats | None, estimate: GainEstimate | None, lines: tuple[Check, ...]
    ) -> _Case:
        """Add what every champion must show; without an estimate the case rests on the gain over no features."""
        over_nothing = estimate_gain(self.rows, one.scores, self._without_features, self.params, self._error)
        value = compute_metric(self.params.metric, self.rows.labels, one.scores, self.threshold)
        common = check_model(one, over, self.rows, self._without_features, self.params, self.threshold)
        checks = (*lines, self._beats_baseline(over_nothing), *common)
        return _Case(kind, one, checks, estimate or over_nothing, value)

    def _beats_baseline(self, estimate: GainEstimate) -> Check:
        value = find_baseline(self.params.metric, self.rows.labels, self.opponent.baseline)
        detail = f"lower bound of the gain over a model without features ({self.params.metric} {value:.4g})"
        return check("beats baseline", estimate.lower, 0.0, holds=estimate.lower > 0, detail=detail)

    def _conclude(self, case: _Case, evidence: tuple[Check, ...]) -> Verdict:
        answer = "keep" if case.is_refused else "promote"
        return Verdict(self.subject, answer, case.reason, (*evidence, *case.checks), facts=case.facts)

    @property
    def _error(self) -> float:
        return 1.0 - self.params.confidence

    @property
    def _without_features(self) -> Floats:
        return score_without_features(len(self.rows.labels), self.opponent.baseline)
