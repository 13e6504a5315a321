"""The same features by Feast's local offline store; run by the Python of a virtual environment that holds Feast."""

import sys
import time
from datetime import timedelta
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType  # type: ignore[import-not-found]
from feast.types import Float64  # type: ignore[import-not-found]


def open_store(folder: Path, sources: list[str]) -> FeatureStore:
    """Register one feature view per source file, in a registry of its own."""
    config = RepoConfig(
        project="asof",
        provider="local",
        registry=str(folder / "registry.db"),
        online_store=None,
        offline_store={"type": "file"},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
    views = [
        FeatureView(
            name=name,
            entities=[entity],
            ttl=timedelta(0),  # to Feast this is for ever
            schema=[Field(name="value", dtype=Float64)],
            source=FileSource(name=name, path=str(folder / f"{name}.parquet"), timestamp_field="known_at"),
        )
        for name in sources
    ]
    store.apply([entity, *views])
    return store


def main() -> None:
    folder, target, *sources = Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]
    store = open_store(folder, sources)
    begin = time.perf_counter()
    spine = pd.read_parquet(folder / "spine.parquet", columns=["row_id", "entity", "decision_time"])
    asked = spine.rename(columns={"decision_time": "event_timestamp"})
    features = [f"{name}:value" for name in sources]
    found = store.get_historical_features(entity_df=asked, features=features, full_feature_names=True).to_df()
    found = found.rename(columns={f"{name}__value": name for name in sources})
    found[["row_id", *sources]].to_parquet(target, index=False)
    sys.stdout.write(f"{time.perf_counter() - begin:.3f}\n")


if __name__ == "__main__":
    main()
