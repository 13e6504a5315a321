"""Exported trees send every value the way the trained ones do."""

from pathlib import Path

import numpy as np
import pytest

from nightloop.training.encoder import Layout
from nightloop.training.gradient_boosting import fit_gradient_boosting, round_down
from nightloop.training.problem import Matrix, Problem


def test_rounding_down_keeps_every_comparison() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=10_000).astype(np.float32)
    others = np.nextafter(values, np.float32(np.inf))
    thresholds = (values.astype(np.float64) + others.astype(np.float64)) / 2
    rounded = round_down(thresholds)
    assert (values <= rounded).all()
    assert not (others <= rounded).any()


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_parity_holds_for_values_that_crowd_a_threshold(task: str, tmp_path: Path) -> None:
    from onnxruntime import InferenceSession

    from nightloop.training.graph import Graph

    random = np.random.default_rng(1)
    near = np.float32(0.1) + np.arange(400, dtype=np.float32) * np.float32(7.45e-9)
    features = random.choice(near, (6000, 2)).astype(np.float32)
    targets = (features[:, 0] > near[200]).astype(np.float64)
    matrix = Matrix(Layout(2, ()), features, targets, np.ones(6000))
    problem = Problem(task, 2, {"min_samples_leaf": 5, "learning_rate": 0.3}, 0, tmp_path)
    fitted = fit_gradient_boosting(problem, matrix, {"iterations": 20})
    graph = Graph()
    first, second = graph.add_input("a", "number"), graph.add_input("b", "number")
    model = graph.to_bytes(fitted.add_head(graph, graph.add("Concat", first, second, axis=1)), 3)
    feed = {"a": features[:, :1], "b": features[:, 1:]}
    found = InferenceSession(model).run(None, feed)[0]
    np.testing.assert_allclose(found, fitted.margins, atol=1e-5)
