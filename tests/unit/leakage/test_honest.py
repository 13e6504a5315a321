"""On 200 seeds no honest column is refused, and a leak planted among them always is."""

import numpy as np
import pytest

from tests.unit.leakage.builders import TASKS, judge, make_columns, make_label, refusals

pytestmark = pytest.mark.slow
SEEDS = range(200)


def sizes(seed: int) -> int:
    return int(np.random.default_rng(seed).integers(60, 800))


def test_honest_columns_are_never_refused() -> None:
    refused = {}
    for seed in SEEDS:
        columns = make_columns(seed, sizes(seed))
        refused[seed] = refusals(judge(TASKS[seed % 3], columns, make_label(TASKS[seed % 3], columns, seed)))
    assert {seed: found for seed, found in refused.items() if found} == {}


def test_a_planted_leak_is_always_named() -> None:
    missed = []
    for seed in SEEDS:
        random, task = np.random.default_rng(seed), TASKS[seed % 3]
        columns = make_columns(seed, 200 + sizes(seed))
        label = make_label(task, columns, seed)
        slight = 0.02 * label.std() * random.normal(size=len(label))
        place = int(random.integers(len(columns)))
        names = list(columns)
        names.insert(place, "planted")
        mixed = {**columns, "planted": random.choice([-3.0, 0.5, 40.0]) * label + slight * (task != "regression")}
        found = refusals(judge(task, {name: mixed[name] for name in names}, label))
        missed += [] if "nearly determines the label: planted" in found else [seed]
    assert missed == []
