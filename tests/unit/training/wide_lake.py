"""A lake of wide features, written night by night, and labels that matured a night later."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from nightloop.run import format_night

SCOPE, VERSION = "taxi_duration", "wide"
NIGHTS = tuple(datetime(2025, 1, 1, 2, tzinfo=UTC) + number * timedelta(days=1) for number in range(50))
CUT = NIGHTS[-1] + timedelta(days=1)
NUMERIC = tuple(f"number_{place}" for place in range(80))
CATEGORICAL = ("place",)
ROWS_PER_NIGHT = 42_000


def write_lake(root: Path) -> None:
    """Write both tables; the label is a sum of two numbers and noise."""
    for number, night in enumerate(NIGHTS):
        random = np.random.default_rng(number)
        drawn = random.integers(0, 200, (len(NUMERIC), ROWS_PER_NIGHT)) / 10.0
        trips = [f"{number}-{row}" for row in range(ROWS_PER_NIGHT)]
        key = {"row_id": [f"{trip}@{number}" for trip in trips], "trip_id": trips}
        decided = pa.array([night] * ROWS_PER_NIGHT, pa.timestamp("us", "UTC"))
        shared = {**key, "decision_time": decided, "variant": ["main"] * ROWS_PER_NIGHT}
        features = dict(zip(NUMERIC, drawn, strict=True)) | {"place": random.choice(["a", "b"], ROWS_PER_NIGHT)}
        labels = {
            "cohort": [format_night(night)] * ROWS_PER_NIGHT,
            "label": drawn[0] + drawn[1] + random.normal(0, 1, ROWS_PER_NIGHT),
            "is_observed": [True] * ROWS_PER_NIGHT,
            "night": [format_night(night + timedelta(days=1))] * ROWS_PER_NIGHT,
        }
        tables = {
            f"features/{SCOPE}/{VERSION}": {**shared, **features, "night": [format_night(night)] * ROWS_PER_NIGHT},
            f"labels/{SCOPE}": {**shared, **labels},
        }
        for path, columns in tables.items():
            write_deltalake(str(root / path), pa.table(columns), partition_by=["night", "variant"], mode="append")
