"""The same features by `pandas.merge_asof`; run as a process of its own with a limit on its memory if one is given."""

import resource
import sys
from pathlib import Path

import pandas as pd

from benchmarks.asof_world import SOURCES


def build(folder: Path, target: Path) -> None:
    """Read spine and sources, join the last value of each source as of each decision, write the features."""
    features = pd.read_parquet(folder / "spine.parquet", columns=["row_id", "entity", "decision_time"])
    features = features.sort_values("decision_time")
    for name in SOURCES:
        versions = pd.read_parquet(folder / f"{name}.parquet", columns=["entity", "known_at", "value"])
        versions = versions.rename(columns={"value": name}).sort_values("known_at")
        joined = pd.merge_asof(features, versions, left_on="decision_time", right_on="known_at", by="entity")
        features = joined.drop(columns="known_at")
    features.to_parquet(target, index=False)


def main() -> None:
    folder, target, limit_mb = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (limit_mb << 20, limit_mb << 20))
    build(folder, target)


if __name__ == "__main__":
    main()
