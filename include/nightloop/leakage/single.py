"""What one column alone says about the label."""

from collections.abc import Iterator

import numpy as np

from nightloop.leakage.figure import Figure
from nightloop.leakage.levels import FOLDS, LEAST_CLASS_ROWS, Codes, Column, Floats, LabelledSample, read_dates, sum_by

ALONE = "nearly determines the label"
PURE = "one value gives the label away"
LATER = "later than the decision"
_Z = 1.96
_HALF = 0.5
_LEAST_MODE_SHARE = 0.05
_LEAST_DATES = 2


def measure_auc(sample: LabelledSample) -> list[Figure]:
    """Return each column's highest ROC AUC, of any class against the rest.

    Four readings of a column: its numbers in order, either way round; whether it is missing at all; and the mean label
    of its bins or categories, learned on the other folds, which finds bands and categories but no mere cardinality.
    """
    return [_best_auc(column, sample) for column in sample.columns if sample.classes]


def measure_r2(sample: LabelledSample) -> list[Figure]:
    """Return the share of variance of a regression label's ranks that each column explains.

    Ranks make it blind to monotone transforms and to a few wild values. Two readings: squared Spearman correlation, and
    the means of bins or categories, learned on the other folds.
    """
    if not sample.is_regression or sample.rows < FOLDS * LEAST_CLASS_ROWS or np.ptp(sample.label) == 0:
        return []
    ranks = sample.ranks
    found = []
    for column in sample.columns:
        bins = score_bins(_cells(column.bins(), sample.folds), ranks)
        values = [(bins, "means of its bins"), (_spearman2(column, ranks), "its order")]
        value, reading = max(values)
        found.append(Figure(ALONE, (column.name,), value, f"R² of the label's ranks by {reading}"))
    return found


def measure_purity(sample: LabelledSample) -> list[Figure]:
    """Return for each column the value whose rows are most surely all of one rarer class (at most half of all rows).

    The figure is the lower bound of Wilson's 95 % interval of the share; of a number only its commonest value, what
    lies below and above it, and missing are looked at.
    """
    found = []
    for column in sample.columns:
        best: tuple[float, str] = (0.0, "")
        for name, codes in _parts(column):
            totals = np.bincount(codes[codes >= 0], minlength=len(name))
            for label, of in sample.classes.items():
                rarer, called = (of, label) if of.mean() <= _HALF else (1 - of, f"other than {label}")
                hits = sum_by(codes[codes >= 0], rarer[codes >= 0], len(name))
                bounds = _wilson_lower(hits, totals)
                place = int(np.argmax(bounds))
                told = f"class {called} has {hits[place]:.0f} of {totals[place]} rows where it is {name[place]}"
                best = max(best, (float(bounds[place]), told))
        if sample.classes:
            found.append(Figure(PURE, (column.name,), *best))
    return found


def measure_dates(sample: LabelledSample, decided: Floats) -> list[Figure]:
    """Return for each column of dates the share of rows that show one after their decision (seconds since 1970)."""
    found = []
    for column in sample.columns:
        instants = None if column.values is not None else read_dates(column.words)
        if instants is not None and len(instants) >= _LEAST_DATES:
            shown = np.append(instants, -np.inf)[column.codes]
            later = float((shown > decided).mean())
            found.append(Figure(LATER, (column.name,), later, "rows that show a later date"))
    return found


def levels_auc(totals: Codes | Floats, hits: Floats) -> float:
    """Return the ROC AUC of ordered levels from rows and class rows per level; ties count half."""
    misses = totals - hits
    pairs = hits.sum() * misses.sum()
    below = np.cumsum(misses) - misses
    return float((hits * (below + misses / 2)).sum() / pairs) if pairs else _HALF


def score_bins(cells: Codes, target: Floats, *, is_class: bool = False) -> float:
    """Return how well the means of the other folds of a bin foretell the target: AUC of a class, else R².

    `cells` holds FOLDS * bin + fold of each row. A bin that no other fold knows takes the mean of all.
    """
    count = (int(cells.max(initial=0)) // FOLDS + 1) * FOLDS
    totals = np.bincount(cells, minlength=count).reshape(-1, FOLDS)
    sums = sum_by(cells, target, count).reshape(-1, FOLDS)
    mean = target.mean()
    others = totals.sum(axis=1, keepdims=True) - totals
    told = (sums.sum(axis=1, keepdims=True) - sums + mean) / (others + 1)
    if is_class:
        used = totals > 0
        # equal means may differ in their last bits, and would be no ties
        _, places = np.unique(told[used].round(12), return_inverse=True)
        return levels_auc(sum_by(places, totals[used]), sum_by(places, sums[used]))
    errors = np.square(target).sum() - 2 * (told * sums).sum() + (totals * told**2).sum()
    spread = np.square(target - mean).sum()
    return float(1 - errors / spread) if spread else 0.0


def _best_auc(column: Column, sample: LabelledSample) -> Figure:
    best: tuple[float, str] = (_HALF, "no reading tells the classes apart")
    cells = _cells(column.bins() if column.values is not None else column.codes, sample.folds)
    for name, of in sample.classes.items():
        hits = sum_by(column.codes, of, column.levels + 1)
        totals = np.bincount(column.codes, minlength=column.levels + 1)
        missing = levels_auc(*_split_missing(totals, hits))
        readings = [(max(missing, 1 - missing), "whether it is missing")]
        readings.append((score_bins(cells, of, is_class=True), "the mean label of its values"))
        if column.values is not None and _has_both(totals[:-1], hits[:-1]):
            ordered = levels_auc(totals[:-1], hits[:-1])
            readings.append((max(ordered, 1 - ordered), "its order"))
        value, reading = max(readings)
        best = max(best, (value, f"ROC AUC of class {name} by {reading}"))
    return Figure(ALONE, (column.name,), *best)


def _cells(bins: Codes, folds: Codes) -> Codes:
    return bins * FOLDS + folds


def _split_missing(totals: Codes, hits: Floats) -> tuple[Codes, Floats]:
    return np.array([totals[:-1].sum(), totals[-1]]), np.array([hits[:-1].sum(), hits[-1]])


def _has_both(totals: Codes, hits: Floats) -> bool:
    return bool(LEAST_CLASS_ROWS <= hits.sum() <= totals.sum() - LEAST_CLASS_ROWS)


def _spearman2(column: Column, ranks: Floats) -> float:
    found = ~column.is_missing
    if column.values is None or column.levels <= 1 or found.sum() < FOLDS * LEAST_CLASS_ROWS:
        return 0.0
    counts = np.bincount(column.codes[found])
    ours, theirs = (np.cumsum(counts) - counts / 2)[column.codes[found]], ranks[found]
    return float(np.corrcoef(ours, theirs)[0, 1] ** 2) if np.ptp(theirs) > 0 else 0.0


def _parts(column: Column) -> Iterator[tuple[list[str], Codes]]:
    """Ways to cut a column into named parts, -1 for rows of none."""
    if column.values is None:
        yield [*(f"`{word}`" for word in column.words), "missing"], column.codes
        return
    yield ["present", "missing"], column.is_missing.astype(np.int64)
    counts = np.bincount(column.codes, minlength=column.levels + 1)[: column.levels]
    if column.levels and counts.max() >= _LEAST_MODE_SHARE * len(column.codes):
        mode = int(np.argmax(counts))
        word = f"{column.words[mode]:g}"
        sides = np.sign(column.codes - mode) + 1
        yield [f"below {word}", word, f"above {word}"], np.where(column.is_missing, -1, sides)


def _wilson_lower(hits: Floats, totals: Codes) -> Floats:
    """Lower bound of the 95 % interval of a share; Wilson (1927)."""
    n = np.maximum(totals, 1)
    share, z2 = hits / n, _Z**2
    spread = _Z * np.sqrt(share * (1 - share) / n + z2 / (4 * n**2))
    return np.where(totals > 0, (share + z2 / (2 * n) - spread) / (1 + z2 / n), 0.0)
