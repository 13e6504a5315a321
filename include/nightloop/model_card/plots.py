"""Plots of a card as SVG; the same rows give the same bytes."""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from nightloop.evaluation.explanation import DependencePoint
from nightloop.evaluation.metrics import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 10
_SIZE_INCHES = 3.6
_LABEL_CHARACTERS = 20
_OURS, _REFERENCE = "#2563eb", "#94a3b8"


def draw_plots(labels: Floats, scores: Floats, task: str) -> dict[str, str]:
    """Return the plots of a task by their titles; of many classes one curve each."""
    if task == "regression":
        return {"Told and found, by tenths of the score": _draw(partial(_plot_means, labels, scores))}
    columns = [(labels, scores)] if task == "binary" else [
        ((labels == place).astype(float), scores[:, place]) for place in range(scores.shape[1])
    ]  # fmt: skip
    return {
        "ROC curve": _draw(*(partial(_plot_roc, *each) for each in columns)),
        "Calibration, by tenths of the score": _draw(*(partial(_plot_means, *each) for each in columns)),
    }


def draw_dependence(columns: Mapping[str, Sequence[DependencePoint]]) -> dict[str, str]:
    """Return by column what its values add to the score, each as an SVG."""
    return {name: _draw(partial(_plot_effects, points)) for name, points in columns.items() if points}


def _plot_effects(points: Sequence[DependencePoint], axes: "Axes") -> None:
    places: Sequence[float | str] = [_shorten(point.at) for point in points]
    means = np.array([point.mean for point in points])
    # `errorbar` refuses a negative length, which a mean outside its own band would give
    band = np.abs(np.array([[point.low, point.high] for point in points]).T - means)
    is_text = any(isinstance(place, str) for place in places)
    axes.axhline(0.0, color=_REFERENCE, linewidth=1)
    axes.errorbar(places, means, yerr=band, color=_OURS, marker="o", markersize=4, linewidth=0 if is_text else 1,
                  elinewidth=1)  # fmt: skip
    axes.tick_params(axis="x", rotation=45 if is_text else 0)
    axes.set_ylabel("part in the score (SHAP)")


def _shorten(place: float | str) -> float | str:
    return place[:_LABEL_CHARACTERS] if isinstance(place, str) else place


def _plot_roc(labels: Floats, scores: Floats, axes: "Axes") -> None:
    from sklearn.metrics import roc_curve

    if len(np.unique(labels)) > 1:
        false_positives, true_positives, _ = roc_curve(labels, scores)
        axes.plot(false_positives, true_positives, color=_OURS)
    axes.plot([0, 1], [0, 1], color=_REFERENCE, linewidth=1)
    axes.set_xlabel("false positive rate")
    axes.set_ylabel("true positive rate")


def _plot_means(labels: Floats, scores: Floats, axes: "Axes") -> None:
    bins = np.array_split(np.argsort(scores, kind="stable"), min(_BINS, len(scores)))
    told, found = (np.array([values[rows].mean() for rows in bins]) for values in (scores, labels))
    errors = [labels[rows].std() / np.sqrt(len(rows)) for rows in bins]
    ends = [min(told.min(), found.min()), max(told.max(), found.max())]
    axes.plot(ends, ends, color=_REFERENCE, linewidth=1)
    axes.errorbar(told, found, yerr=errors, color=_OURS, marker="o", markersize=4, linewidth=1)
    axes.set_xlabel("mean score")
    axes.set_ylabel("mean label (± 1 standard error)")


def _draw(*plots: Callable[["Axes"], None]) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # without a salt matplotlib draws the ids of an SVG anew in each process
    with mpl.rc_context({"svg.hashsalt": "nightloop", "svg.fonttype": "none", "font.size": 9}):
        # not by pyplot, which keeps every figure until it is closed
        figure = Figure(figsize=(_SIZE_INCHES, _SIZE_INCHES), layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        for plot in plots:
            plot(axes)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    text = written.getvalue()
    # an XML declaration has no place in the middle of a page
    return text[text.index("<svg") :]
