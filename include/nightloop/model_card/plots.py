"""Plots of a card as SVG; the same rows give the same bytes."""

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nightloop.evaluation.metrics import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 10
_SIZE_INCHES = 3.6
_OURS, _REFERENCE = "#2563eb", "#94a3b8"


def draw_plots(labels: Floats, scores: Floats, task: str) -> dict[str, str]:
    """Return the plots of a task by their titles; of many classes one curve each."""
    if task == "regression":
        return {"Told and found, by tenths of the score": _draw(_plot_means, [(labels, scores)])}
    columns = [(labels, scores)] if task == "binary" else [
        ((labels == place).astype(float), scores[:, place]) for place in range(scores.shape[1])
    ]  # fmt: skip
    return {
        "ROC curve": _draw(_plot_roc, columns),
        "Calibration, by tenths of the score": _draw(_plot_means, columns),
    }


def _plot_roc(axes: "Axes", labels: Floats, scores: Floats) -> None:
    from sklearn.metrics import roc_curve

    if len(np.unique(labels)) > 1:
        false_positives, true_positives, _ = roc_curve(labels, scores)
        axes.plot(false_positives, true_positives, color=_OURS)
    axes.plot([0, 1], [0, 1], color=_REFERENCE, linewidth=1)
    axes.set_xlabel("false positive rate")
    axes.set_ylabel("true positive rate")


def _plot_means(axes: "Axes", labels: Floats, scores: Floats) -> None:
    bins = np.array_split(np.argsort(scores, kind="stable"), min(_BINS, len(scores)))
    told, found = (np.array([values[rows].mean() for rows in bins]) for values in (scores, labels))
    errors = [labels[rows].std() / np.sqrt(len(rows)) for rows in bins]
    ends = [min(told.min(), found.min()), max(told.max(), found.max())]
    axes.plot(ends, ends, color=_REFERENCE, linewidth=1)
    axes.errorbar(told, found, yerr=errors, color=_OURS, marker="o", markersize=4, linewidth=1)
    axes.set_xlabel("mean score")
    axes.set_ylabel("mean label (± 1 standard error)")


def _draw(plot: Callable[["Axes", Floats, Floats], None], columns: Sequence[tuple[Floats, Floats]]) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "nightloop", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(_SIZE_INCHES, _SIZE_INCHES), layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        for labels, scores in columns:
            plot(axes, labels, scores)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    text = written.getvalue()
    return text[text.index("<svg") :]
