"""How far a model's scores are from what they say, in one figure."""

import numpy as np

from nightloop.evaluation.metrics import Floats

_BINS = 10


def calibration_error(labels: Floats, scores: Floats) -> float:
    """Return the calibration error beyond chance, at least 0.

    Of probabilities: root mean square of the distance between mean score and share of positives over ten bins of equal
    rows, less what the bins' own sampling adds (Ferro and Fricker 2012, "A bias-corrected decomposition of the Brier
    score"); of many classes the greatest over the classes. Of other values, scores beyond [0, 1] or labels other
    than class numbers: the distance of the means per standard deviation of the labels, less its own standard error.

    >>> calibration_error(np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 3.0, 4.0, 5.0]))
    0.8944271909999159
    """
    if scores.ndim > 1:
        each = [
            calibration_error((labels == place).astype(float), scores[:, place]) for place in range(scores.shape[1])
        ]
        return max(each)
    if not np.isin(labels, (0.0, 1.0)).all():
        errors, deviation = scores - labels, float(labels.std())
        square = float(errors.mean() ** 2 - errors.var() / len(errors))
        return max(0.0, square) ** 0.5 / deviation if deviation > 0 else 0.0
    bins = np.array_split(np.argsort(scores, kind="stable"), min(_BINS, len(labels)))
    squares = 0.0
    for rows in bins:
        share = labels[rows].mean()
        chance = share * (1 - share) / max(1, len(rows) - 1)
        squares += len(rows) * float((share - scores[rows].mean()) ** 2 - chance)
    return round(float(np.sqrt(max(0.0, squares / len(labels)))), 6)
