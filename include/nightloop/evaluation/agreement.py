"""Does a refit say what its judged twin said? If not, the gate's verdict does not speak for it."""

import numpy as np
from numpy.typing import NDArray

from nightloop.evaluation.metrics import Floats
from nightloop.evaluation.params import PromotionParams
from nightloop.verdict import Check, Verdict

_CALIBRATION_DEVIATIONS = 0.1


def judge_agreement(subject: str, refit: Floats, twin: Floats, labels: Floats, params: PromotionParams) -> Verdict:
    """Answer `agree` or `differ` from both models' scores of recent labelled rows.

    Ranks must correlate (Spearman), and the refit's mean must not lie farther from the mean outcome than its twin's, by
    more than a tenth of the outcome's standard deviation: newer data may bring it nearer.
    """
    correlation = rank_correlation(_ranked(refit), _ranked(twin))
    outcome, twin_mean, refit_mean = _mean(labels, refit), _mean(twin, refit), _mean(refit, refit)
    farther = abs(refit_mean - outcome) - abs(twin_mean - outcome)
    limit = _CALIBRATION_DEVIATIONS * float(np.std(labels))
    least = params.refit_correlation
    checks = (
        Check("rank correlation", "pass" if correlation >= least else "fail", correlation, least, "refit and twin"),
        Check(
            "calibration in the large",
            "pass" if farther <= limit else "fail",
            farther,
            limit,
            f"means: outcome {outcome:.4g}, refit {refit_mean:.4g}, twin {twin_mean:.4g}",
        ),
    )
    failed = [f"{check.name} {check.figure:.4g}, limit {check.limit:.4g}" for check in checks if check.is_failed]
    if failed:
        return Verdict(subject, "differ", f"the refit does not score like its judged twin: {'; '.join(failed)}", checks)
    return Verdict(subject, "agree", f"rank correlation {correlation:.3f} with its judged twin", checks)


def rank_correlation(first: Floats, second: Floats) -> float:
    """Return Spearman's rank correlation, ties at their mean rank; 1 where both are constant, else 0 where one is.

    >>> rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 15.0]))
    0.5
    """
    ranks = [_ranks(first), _ranks(second)]
    deviations = [rank - rank.mean() for rank in ranks]
    norms = [float(np.sqrt((deviation**2).sum())) for deviation in deviations]
    if min(norms) == 0:
        return 1.0 if max(norms) == 0 else 0.0
    # rounded, so that equal ranks give 1 and not a float beside it
    return float(np.round((deviations[0] * deviations[1]).sum() / (norms[0] * norms[1]), 12))


def _ranks(values: Floats) -> Floats:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    means = np.cumsum(counts) - (counts - 1) / 2
    return np.asarray(means[place], np.float64)


def _ranked(scores: NDArray[np.floating]) -> Floats:
    return np.asarray(scores, np.float64).ravel()


def _mean(values: Floats, like: Floats) -> float:
    """Mean of values; of class probabilities the mean probability-weighted class."""
    if like.ndim > 1 and values.ndim > 1:
        return float((values @ np.arange(values.shape[1])).mean())
    return float(np.mean(values))
