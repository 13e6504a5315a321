"""Hold `tabular_net` against `gradient_boosting` and `linear` on three real data sets, each with its defaults.

`make bench NAME=quality`. A ratio is the net's ROC AUC over boosting's, or boosting's mean absolute error over the
net's: above 1 the net is ahead. Its spread is the 95 % interval of a paired bootstrap on the judged rows. Every
candidate is fitted as a retraining fits it, and scored from its ONNX artifact. Writes a table to docs/benchmarks.md.
"""

import os
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import numpy as np

from benchmarks.harness import Spread, write_result, write_section
from benchmarks.quality_data import Problem, read_problems
from nightloop.artifact import score_table
from nightloop.evaluation.bootstrap import draw_weights
from nightloop.evaluation.metrics import Floats, compute_metric, compute_weighted, gain
from nightloop.training.candidate import fit_candidate
from nightloop.training.dataset import prepare_rows
from nightloop.training.params import Recipe, TrainingParams
from nightloop.training.plan import PlannedCandidate

FAMILIES = ("tabular_net", "gradient_boosting", "linear")
RANKS = 2
RESAMPLES = 1000
_CHOOSE_RATIO = 0.15
_ONLY = os.environ.get("NIGHTLOOP_BENCH_DATA", "").split(",")


def main() -> int:
    """Fit and judge nine candidates."""
    ratios, figures, lines = {}, {}, []
    for problem in read_problems():
        if _ONLY != [""] and problem.name not in _ONLY:
            continue
        scores = {family: score(problem, family) for family in FAMILIES}
        ratio, behind = compare(problem, scores)
        ratios[f"quality_{problem.name}"] = ratio
        own = {family: _measure(problem, told) for family, (told, _) in scores.items()}
        seconds = {family: round(taken) for family, (_, taken) in scores.items()}
        figures[problem.name] = {"metric": problem.metric, **own, "fit_seconds": seconds, "over_linear": behind}
        lines.append(_line(problem, own, ratio, behind))
        print(lines[-1])
    write_result("quality", ratios=ratios, figures=figures, notes=__doc__ or "")
    heading = (
        "| data | rows trained, judged | metric | net | boosting | linear "
        "| net ÷ boosting (95 %) | gain of the net over linear | gain of boosting over linear |"
    )
    write_section("quality", "\n".join([heading, "|---" * 9 + "|", *lines]))
    return 0


def score(problem: Problem, family: str) -> tuple[Floats, float]:
    """Fit one family with its defaults; return its scores of the judged rows and the seconds of the fit."""
    recipe = Recipe(family=family, params=dict(problem.params))
    planned = PlannedCandidate(family, recipe, problem.numeric, problem.categorical, "benchmark")
    # the windows are required but take no part: both sets of rows are cut already
    params = TrainingParams(window_days=1, judging_days=1, candidates=(recipe,), ranks=RANKS)
    cut: datetime = problem.training.column("decision_time")[-1].as_py()
    rows = prepare_rows(problem.training, cut, _CHOOSE_RATIO)
    with tempfile.TemporaryDirectory(prefix="nightloop-bench-") as folder:
        fitted = fit_candidate(rows, planned, Path(folder) / "fit", problem.task, params)
    print(f"{problem.name} {family}: {fitted.seconds:.0f} s, {dict(fitted.choices)}", flush=True)
    return score_table(fitted.model, problem.judged), fitted.seconds


def compare(problem: Problem, scores: dict[str, tuple[Floats, float]]) -> tuple[Spread, dict[str, list[float]]]:
    """Return net against boosting as a ratio, and the gain of both over linear, each with its 95 % interval."""
    labels = problem.judged.column("label").to_numpy()
    rows, ids = problem.judged.column("cohort").to_numpy(), problem.judged.column("row_id").to_numpy()
    drawn: dict[str, list[Floats]] = {family: [] for family in FAMILIES}
    for weights in draw_weights(rows, ids, RESAMPLES, seed=0):
        for family, (told, _) in scores.items():
            drawn[family].append(compute_weighted(problem.metric, labels, told, weights))  # type: ignore[arg-type]
    value = {family: _measure(problem, told) for family, (told, _) in scores.items()}
    spread = {family: np.concatenate(parts) for family, parts in drawn.items()}
    ratio = _ratio(problem, value["tabular_net"], value["gradient_boosting"])
    low, high = np.quantile(_ratio(problem, spread["tabular_net"], spread["gradient_boosting"]), [0.025, 0.975])
    over = {}
    for family in ("tabular_net", "gradient_boosting"):
        gained = _gain(problem, spread[family], spread["linear"])
        over[family] = [_gain(problem, value[family], value["linear"]), *np.quantile(gained, [0.025, 0.975]).tolist()]
    return Spread(round(float(ratio), 4), round(float(low), 4), round(float(high), 4), RESAMPLES), over


def _measure(problem: Problem, scores: Floats) -> float:
    return compute_metric(problem.metric, problem.judged.column("label").to_numpy(), scores)  # type: ignore[arg-type]


def _ratio(problem: Problem, net: Floats | float, boosting: Floats | float) -> Floats | float:
    return net / boosting if problem.metric == "roc_auc" else boosting / net


def _gain(problem: Problem, value: Floats | float, over: Floats | float) -> float:
    return gain(problem.metric, value, over)  # type: ignore[arg-type]


def _line(problem: Problem, own: dict[str, float], ratio: Spread, over: dict[str, list[float]]) -> str:
    def told(found: list[float]) -> str:
        return f"{found[0]:+.4f} ({found[1]:+.4f} to {found[2]:+.4f})"

    cells = [
        problem.name,
        f"{problem.training.num_rows:,}, {problem.judged.num_rows:,}",
        problem.metric,
        *(f"{own[family]:.4f}" for family in FAMILIES),
        f"{ratio.median:.4f} ({ratio.least:.4f} to {ratio.most:.4f})",
        told(over["tabular_net"]),
        told(over["gradient_boosting"]),
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
