"""Samples of honest columns beside a label, to plant leaks in."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from nightloop.leakage.gate import judge_columns
from nightloop.leakage.levels import LabelledSample, read_sample
from nightloop.leakage.params import LeakageParams
from nightloop.verdict import Check

TASKS = ("binary", "multiclass", "regression")


def make_columns(seed: int, rows: int = 600) -> dict[str, np.ndarray]:
    """Five honest columns: two numbers, a count with many zeros, a number that is often missing, a category."""
    random = np.random.default_rng(seed)
    often_missing = np.where(random.random(rows) < 0.4, np.nan, random.exponential(5, rows))
    return {
        "income": random.lognormal(10, 0.5, rows),
        "age": random.integers(18, 80, rows).astype(float),
        "defaults": random.poisson(0.2, rows).astype(float),
        "months": often_missing,
        "state": random.choice(["NY", "CA", "TX", "WA"], rows),
    }


def make_label(task: str, columns: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
    """A label that honest columns explain in part: ROC AUC of income near 0.75, R² near 0.3."""
    random = np.random.default_rng(seed + 1_000_000)
    signal = (np.log(columns["income"]) - 10) / 0.5 + 1.3 * random.normal(size=len(columns["income"]))
    if task == "regression":
        return np.exp(signal)
    return np.digitize(signal, [1.0] if task == "binary" else [-1.0, 1.0]).astype(float)


def make_sample(task: str, columns: Mapping[str, Any], label: np.ndarray) -> LabelledSample:
    numeric = [name for name, values in columns.items() if np.asarray(values).dtype.kind == "f"]
    categorical = [name for name in columns if name not in numeric]
    table = pa.table({**columns, "label": label})
    return read_sample(table, task, numeric, categorical, [f"e{row}" for row in range(len(label))])


def judge(
    task: str, columns: Mapping[str, Any], label: np.ndarray, params: LeakageParams | None = None
) -> Sequence[Check]:
    return judge_columns(make_sample(task, columns, label), np.zeros(len(label)), params or LeakageParams())


def refusals(checks: Sequence[Check]) -> dict[str, float]:
    """Return the figure of each failed check by its name."""
    return {check.name: check.figure or 0.0 for check in checks if check.is_failed}
