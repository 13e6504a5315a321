"""The report of the lake's sizes counts what the newest versions hold apart from what merely lies there."""

import json
from pathlib import Path

import pyarrow as pa
from deltalake import write_deltalake

from nightloop.stores.lake.files import LakeFiles
from nightloop.stores.lake.sizes import draw_page, measure_lake, write_json

NIGHTS = [f"2025010{day}T0200Z" for day in range(1, 4)]


def write_nights(lake: Path, table: str, nights: list[str], mode: str = "append") -> None:
    rows = pa.table({"n": range(len(nights)), "night": nights, "variant": ["main"] * len(nights)})
    write_deltalake(lake / table, rows, mode=mode, partition_by=["night", "variant"])


def test_live_files_are_told_from_stored_ones_and_staging_is_no_table(tmp_path: Path) -> None:
    write_nights(tmp_path, "features/taxi/v1", NIGHTS)
    write_nights(tmp_path, "scores/taxi", NIGHTS)
    write_nights(tmp_path, "scores/taxi", NIGHTS[:1])
    write_nights(tmp_path, "features/taxi/v1", NIGHTS[:1], mode="overwrite")
    write_nights(tmp_path, "staging/features/taxi/v1/night/token=1", NIGHTS)
    features, scores = measure_lake(LakeFiles(str(tmp_path)))
    assert (features.table, features.partitions, features.files, features.stored_files) == ("features/taxi/v1", 1, 1, 4)
    assert (scores.table, scores.partitions, scores.files, scores.stored_files) == ("scores/taxi", 3, 4, 4)
    assert (features.log_files, scores.log_files) == (2, 2)
    on_disk = sum(path.stat().st_size for path in (tmp_path / "scores/taxi").glob("night=*/**/*.parquet"))
    assert scores.bytes == scores.stored_bytes == on_disk
    assert features.bytes < features.stored_bytes


def test_the_report_says_the_same_in_both_forms(tmp_path: Path) -> None:
    write_nights(tmp_path, "scores/taxi", NIGHTS)
    sizes = measure_lake(LakeFiles(str(tmp_path)))
    document = json.loads(write_json(sizes))
    assert document[0]["table"] == "scores/taxi"
    page = draw_page(sizes, "Lake <1>")
    assert "Lake &lt;1&gt;" in page
    assert all(f"<td>{value}</td>" in page for value in document[0].values())


def test_an_empty_lake_has_no_tables(tmp_path: Path) -> None:
    assert measure_lake(LakeFiles(str(tmp_path / "lake"))) == []
