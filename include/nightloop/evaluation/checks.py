"""The lines of a gate's verdict: each holds one figure of a model against one limit."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from nightloop.evaluation.bootstrap import JudgedRows, Keys, estimate_gain
from nightloop.evaluation.calibration import calibration_error
from nightloop.evaluation.disturbance import NOISE
from nightloop.evaluation.metrics import IS_HIGHER_BETTER, Floats, compute_metric, gain
from nightloop.evaluation.params import FairnessLimits, Metric, PromotionParams
from nightloop.verdict import Check, CheckOutcome

LEAST_GROUP_ROWS = 50
_LEAST_SLICE_ROWS = 100


@dataclass(frozen=True)
class Contender:
    """One recipe: its metric on the choose window, and its twin's scores of the judged rows.

    `is_champion` says that it is the champion's own recipe: family, parameters, features and their version.
    `disturbed` are its scores of the same rows after a disturbance of their features, by its name: `noise`, or
    `without <column>`. `size_mb` and `ms_per_1000_rows` are those of its artifact.
    """

    name: str
    chosen: float
    scores: Floats
    is_champion: bool = False
    disturbed: Mapping[str, Floats] = field(default_factory=dict)
    size_mb: float | None = None
    ms_per_1000_rows: float | None = None


def check(name: str, figure: float, limit: float, *, holds: bool, detail: str = "") -> Check:
    """Return a line that passes or fails."""
    return Check(name, "pass" if holds else "fail", float(figure), float(limit), detail)


def check_model(
    one: Contender,
    over: Floats | None,
    rows: JudgedRows,
    without_features: Floats,
    params: PromotionParams,
    threshold: float,
) -> Iterator[Check]:
    """Yield what every champion must show; `over` are the scores of the one that goes on scoring otherwise, if any."""
    for metric, floor in params.floors.items():
        value = compute_metric(metric, rows.labels, one.scores, threshold)
        holds = value >= floor if IS_HIGHER_BETTER[metric] else value <= floor
        yield check(f"floor {metric}", value, floor, holds=holds, detail="on the judged rows")
    yield _check_calibration(one, over, rows, params)
    yield from _check_robustness(one, rows, without_features, params)
    for attribute, limits in params.fairness.items():
        yield from check_fairness(attribute, limits, one, rows, params, threshold)
    for name, figure, most in (
        ("size in MB", one.size_mb, params.max_size_mb),
        ("ms per 1,000 rows", one.ms_per_1000_rows, params.max_ms_per_1000_rows),
    ):
        if figure is not None and most is not None:
            yield check(name, figure, most, holds=figure <= most)


def check_slices(
    one: Contender, over: Floats, rows: JudgedRows, params: PromotionParams, error: float
) -> Iterator[Check]:
    """Yield the worst group of each sliced attribute; it fails where it became worse beyond the margin and chance.

    The groups of all attributes share the chance of error.
    """
    groups = {name: list_groups(values, _LEAST_SLICE_ROWS) for name, values in rows.slices.items()}
    share = error / max(1, sum(map(len, groups.values())))
    for name, found in groups.items():
        worst: tuple[float, float, str] | None = None
        for group in found:
            mask = rows.slices[name] == group
            estimate = estimate_gain(rows.take(mask), one.scores[mask], over[mask], params, share)
            if np.isfinite(estimate.value) and (worst is None or estimate.upper < worst[0]):
                worst = estimate.upper, estimate.value, str(group)
        if worst is not None:
            upper, value, group = worst
            detail = f"{group}: gain {value:.4g}, at most the figure beyond chance"
            yield check(f"slices of {name}", upper, -params.slice_margin, holds=upper >= -params.slice_margin,
                        detail=detail)  # fmt: skip


def check_fairness(
    attribute: str,
    limits: FairnessLimits,
    one: Contender,
    rows: JudgedRows,
    params: PromotionParams,
    threshold: float,
) -> Iterator[Check]:
    """Yield the declared limits between the groups of a protected attribute, measured by Fairlearn."""
    from fairlearn.metrics import (
        demographic_parity_difference,
        demographic_parity_ratio,
        equal_opportunity_difference,
    )

    values = rows.protected[attribute]
    groups = list_groups(values)
    known = np.isin(values, groups)
    wanted = params.favourable_decision
    decided = ((one.scores >= threshold) == wanted)[known]
    deserved, values = (rows.labels == wanted)[known], values[known]
    told = ", ".join(f"{group} {decided[values == group].mean():.3f}" for group in groups)
    detail = f"rates of the favourable decision {wanted}: {told}"
    measures = (
        ("disparate impact", limits.disparate_impact, demographic_parity_ratio, True),
        ("selection rate", limits.selection_rate, demographic_parity_difference, False),
        ("equal opportunity", limits.equal_opportunity, equal_opportunity_difference, False),
    )
    for name, limit, measure, is_least in measures:
        title = f"fairness {attribute}: {name}"
        if limit is None:
            continue
        if len(groups) <= 1 or not decided.any():
            yield Check(title, "warn", None, limit, "fewer than two groups of 50 rows, or no favourable decision")
            continue
        figure = float(measure(deserved, decided, sensitive_features=values))
        yield check(title, figure, limit, holds=figure >= limit if is_least else figure <= limit, detail=detail)


def share_left(one: Contender, rows: JudgedRows, without_features: Floats, metric: Metric) -> dict[str, float]:
    """Return by disturbance what is left of the gain over a model without features; nothing where there is no gain."""
    floor = compute_metric(metric, rows.labels, without_features)
    whole = gain(metric, compute_metric(metric, rows.labels, one.scores), floor)
    if not whole > 0:
        return {}
    return {
        name: gain(metric, compute_metric(metric, rows.labels, scores), floor) / whole
        for name, scores in one.disturbed.items()
    }


def _check_calibration(one: Contender, over: Floats | None, rows: JudgedRows, params: PromotionParams) -> Check:
    """Return the line of the calibration: to keep a champion that is as far off would help nobody."""
    error, limit = calibration_error(rows.labels, one.scores), params.calibration_limit
    detail = "error beyond chance, on the judged rows"
    if over is not None and (present := calibration_error(rows.labels, over)) > limit:
        limit, detail = present, f"{detail}; over the limit of {limit:.4g}, as the champion's is"
    return check("calibration", error, limit, holds=error <= limit, detail=detail)


def _check_robustness(
    one: Contender, rows: JudgedRows, without_features: Floats, params: PromotionParams
) -> Iterator[Check]:
    """Yield what is left of the gain; only noise may fail, a lost column warns."""
    left, limit = share_left(one, rows, without_features, params.metric), params.noise_share
    if NOISE in left:
        share, detail = left.pop(NOISE), "share of the gain over no features that is left"
        yield check("robust to noise", share, limit, holds=share >= limit, detail=detail)
    if left:
        name = min(left, key=lambda lost: left[lost])
        outcome: CheckOutcome = "pass" if left[name] >= limit else "warn"
        yield Check("robust to a missing column", outcome, left[name], limit, f"{name}, the column that costs most")


def list_groups(values: Keys, least_rows: int = LEAST_GROUP_ROWS) -> list[str]:
    """Return the groups that have so many rows."""
    names, counts = np.unique(values, return_counts=True)
    return [str(name) for name, count in zip(names, counts, strict=True) if count >= least_rows]
