"""Small seeded prediction problems with missing numbers and categories."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from nightloop.training.dataset import TrainingRows, prepare_rows
from nightloop.training.params import Recipe
from nightloop.training.plan import PlannedCandidate

CUT = datetime(2025, 3, 1, tzinfo=UTC)
NUMERIC, CATEGORICAL = ("income", "age", "distance"), ("place", "product")


def make_features(rows: int, seed: int = 0) -> pa.Table:
    """Rows over sixty days, one cohort a day, with labels for each task."""
    random = np.random.default_rng(seed)
    income = random.lognormal(10, 1, rows)
    age = random.normal(40, 10, rows)
    distance = random.exponential(5, rows)
    place = random.choice(["north", "south", "east", "west", "rare"], rows, p=[0.3, 0.3, 0.2, 0.19, 0.01])
    product = random.choice(["a", "b"], rows)
    margin = (np.log(income) - 10) + 0.05 * (age - 40) + (place == "north") - 0.3 * (distance > 5) * (product == "a")
    days = np.sort(random.integers(0, 60, rows))
    decided = [CUT - timedelta(days=60 - int(day)) for day in days]
    return pa.table(
        {
            "row_id": [f"r{number:06d}" for number in range(rows)],
            "decision_time": pa.array(decided, pa.timestamp("us", "UTC")),
            "cohort": [instant.strftime("%Y%m%dT0000Z") for instant in decided],
            "income": pa.array(income, pa.float64(), mask=random.random(rows) < 0.1),
            "age": pa.array(age),
            "distance": pa.array(distance),
            "place": pa.array(place, pa.string(), mask=random.random(rows) < 0.05),
            "product": pa.array(product, pa.string()),
            "binary": (random.random(rows) < 1 / (1 + np.exp(1 - margin))).astype(float),
            "multiclass": np.digitize(margin + random.normal(0, 0.5, rows), [-0.5, 0.8]).astype(float),
            "regression": np.exp(0.3 * margin + random.normal(0, 0.2, rows)),
        }
    )


def make_rows(task: str, rows: int = 3000, seed: int = 0, half_life_days: float | None = None) -> TrainingRows:
    table = make_features(rows, seed)
    labelled = table.append_column("label", table.column(task))
    return prepare_rows(labelled, CUT, 0.2, half_life_days)


def plan(recipe: Recipe) -> PlannedCandidate:
    return PlannedCandidate(recipe.name, recipe, NUMERIC, CATEGORICAL, "v1")
