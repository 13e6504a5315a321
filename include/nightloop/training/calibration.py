"""Calibration of a classifier's margins on the choose window; it is frozen with the recipe.

One slope for all outputs and a shift for each: Platt 1999, "Probabilistic Outputs for Support Vector Machines", and for
many classes the bias-corrected temperature scaling of Alexandari et al. 2020, "Maximum Likelihood with Bias-Corrected
Calibration is Hard-To-Beat at Label Shift Adaptation".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from nightloop.training.graph import Graph
from nightloop.training.problem import Matrix, Problem, mean_loss

Floats = NDArray[np.float64]

_SLOPE, _SHIFT = "calibration_slope", "calibration_shift_"
_PRIOR_ROWS = 20.0


@dataclass(frozen=True)
class Calibration:
    """Margins [N, outputs] times `slope`, plus `shifts`; without shifts the margins stay as they are."""

    slope: float = 1.0
    shifts: tuple[float, ...] = ()

    @classmethod
    def fit(cls, problem: Problem, margins: Floats, choose: Matrix) -> Self:
        """Minimise the log loss on the choose window.

        A prior as strong as twenty rows holds the slope near 1 and the shifts near 0, so that a few rows, or rows that
        are told apart wholly, calibrate little. A regression is left as it is.
        """
        if problem.task == "regression":
            return cls()
        from scipy.optimize import minimize

        outputs = margins.shape[1]

        def cost(point: Floats) -> float:
            # as a logarithm the slope stays above 0, and the prior holds off a half as strongly as a double
            loss = mean_loss(problem, np.exp(point[0]) * margins + point[1:], choose)
            return loss + _PRIOR_ROWS / choose.rows * float(point @ point) / 2

        found = minimize(cost, np.zeros(1 + outputs), method="BFGS")
        return cls(float(np.exp(found.x[0])), tuple(map(float, found.x[1:])))

    @classmethod
    def from_choices(cls, choices: Mapping[str, float]) -> Self:
        """Return what `to_choices` told."""
        shifts = [choices[key] for key in sorted(choices, key=_place) if key.startswith(_SHIFT)]
        return cls(choices.get(_SLOPE, 1.0), tuple(shifts))

    def to_choices(self) -> dict[str, float]:
        if not self.shifts:
            return {}
        return {_SLOPE: self.slope, **{f"{_SHIFT}{place}": shift for place, shift in enumerate(self.shifts)}}

    def apply(self, margins: Floats) -> Floats:
        return margins * self.slope + np.asarray(self.shifts) if self.shifts else margins

    def add_to(self, graph: Graph, margins: str) -> str:
        """Append the same to a graph."""
        if not self.shifts:
            return margins
        scaled = graph.add("Mul", margins, graph.constant(self.slope))
        return graph.add("Add", scaled, graph.constant(np.asarray(self.shifts)))


def _place(key: str) -> int:
    # by number: as text shift 10 would come before shift 2
    return int(key.removeprefix(_SHIFT)) if key.startswith(_SHIFT) else -1
