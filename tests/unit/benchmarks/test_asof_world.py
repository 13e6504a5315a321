"""The world of the as-of benchmark is one in which `merge_asof` and the as-of views mean the same."""

from pathlib import Path

import pandas as pd

from benchmarks import asof_pandas
from benchmarks.asof_world import SOURCES, write_world

ROWS = 3_000


def test_instants_are_unique_and_lie_in_their_night(tmp_path: Path) -> None:
    write_world(ROWS, tmp_path / "world")
    for name, instant in [("spine", "decision_time"), *((name, "known_at") for name in SOURCES)]:
        rows = pd.read_parquet(tmp_path / "world" / f"{name}.parquet")
        nights = pd.to_datetime(rows["night"], utc=True)
        assert len(rows) == rows[instant].nunique() == ROWS
        assert ((rows[instant] <= nights) & (rows[instant] > nights - pd.Timedelta(days=1))).all()
        assert nights.nunique() == 30


def test_pandas_takes_the_last_version_before_each_decision(tmp_path: Path) -> None:
    write_world(ROWS, tmp_path / "world")
    asof_pandas.build(tmp_path / "world", tmp_path / "features.parquet")
    features = pd.read_parquet(tmp_path / "features.parquet")
    versions = pd.read_parquet(tmp_path / "world" / f"{SOURCES[0]}.parquet")
    for row in features.sample(50, random_state=1).itertuples():
        known = versions[(versions["entity"] == row.entity) & (versions["known_at"] <= row.decision_time)]
        expected = known.sort_values("known_at")["value"].tail(1).tolist()
        assert [value for value in [getattr(row, SOURCES[0])] if not pd.isna(value)] == expected
