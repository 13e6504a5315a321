"""Performance of past scores, cohort by cohort, once their outcomes have matured."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nightloop.evaluation.metrics import compute_metric
from nightloop.evaluation.params import METRICS_OF_TASK, Metric


@dataclass(frozen=True, slots=True)
class CohortMetric:
    """One metric of one model on the observed rows of one cohort; `positives` is null for a regression."""

    cohort: str
    model_version: int
    metric: Metric
    value: float
    rows: int
    positives: int | None


def measure_cohorts(outcomes: pa.Table, task: str, threshold: float) -> list[CohortMetric]:
    """Measure scored outcomes: columns cohort, model_version, score, decision, label; a null label is left out.

    A metric that the rows do not define (one class only) is left out, never filled. Of a multiclass task the stored
    score speaks for one class, so accuracy alone is measured.
    """
    known = outcomes.filter(pc.is_valid(outcomes.column("label")))
    cohorts = known.column("cohort").to_numpy()
    versions = known.column("model_version").to_numpy()
    labels = known.column("label").to_numpy().astype(np.float64)
    scores = known.column("score").to_numpy().astype(np.float64)
    metrics: Sequence[Metric] = METRICS_OF_TASK[task]
    if task == "multiclass":
        # a hit is a score of 1 for a label that is always 1: accuracy then counts the hits
        scores, metrics, threshold = (
            (known.column("decision").to_numpy() == labels).astype(np.float64),
            ("accuracy",),
            0.5,
        )
        labels = np.ones_like(labels)
    found = []
    for cohort, version in sorted(set(zip(cohorts.tolist(), versions.tolist(), strict=True))):
        mask = (cohorts == cohort) & (versions == version)
        positives = int((labels[mask] > 0).sum()) if task == "binary" else None
        values = {metric: compute_metric(metric, labels[mask], scores[mask], threshold) for metric in metrics}
        found += [
            CohortMetric(cohort, version, metric, value, int(mask.sum()), positives)
            for metric, value in values.items()
            if np.isfinite(value)
        ]
    return found
