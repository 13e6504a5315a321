"""As-of features of decisions over three sources: ours on Spark against `pandas.merge_asof` and Feast's local store.

`make bench NAME=asof`. Every side reads the same Parquet files and writes its features; all must be equal before
anything is timed. Each row count has its ratio, so that one sees it rise. Then ours builds 20 million rows below a
memory limit at which pandas ends. `NIGHTLOOP_BENCH_ROWS` scales all counts (the middle one is 1e6 by default).
"""

import os
import re
import subprocess
import sys
import tempfile
import uuid
import venv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks import asof_pandas
from benchmarks.asof_world import NIGHTS, SOURCE_SCHEMA, SOURCES, SPINE_SCHEMA, write_world
from benchmarks.harness import Pairs, Spread, measure_pairs, read_peak_mb, time_once, write_result
from nightloop.asof.features import build_features
from nightloop.asof.params import SourceView
from nightloop.asof.spine import SpineFigures
from nightloop.asof.visible import AsofSource
from nightloop.engine.server import running_server
from nightloop.engine.session import open_session
from nightloop.run import format_night

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROWS = int(os.environ.get("NIGHTLOOP_BENCH_ROWS", "1000000"))
PAIRED = (ROWS // 10, ROWS)
WARM_UPS = 3  # a server that has served nights has compiled what a night runs
ONCE = 4 * ROWS  # takes minutes
LARGE = 20 * ROWS
HEAP_MB = 2_048
LIMIT_MB = 3_072
_OUT_OF_MEMORY = re.compile("MemoryError|malloc|bad_alloc|allocate", re.IGNORECASE)
_FEATURES_SQL = (
    f"SELECT spine.row_id, {', '.join(f'{name}.value AS {name}' for name in SOURCES)} FROM spine "  # noqa: S608
    + " ".join(f"LEFT JOIN {name} ON {name}.row_id = spine.row_id" for name in SOURCES)
)


def main() -> int:
    with (
        tempfile.TemporaryDirectory(prefix="nightloop-bench-") as top,
        running_server(Path(top) / "engine", memory_mb=HEAP_MB) as server,
        open_session(server.remote, str(uuid.uuid4())) as spark,
    ):
        folder = Path(top)
        ratios: dict[str, Pairs | Spread] = {}
        for rows in PAIRED:
            ours, theirs = _sides(spark, rows, folder)
            ratios[_name_ratio(rows)] = pairs = measure_pairs(ours, theirs, warm_ups=WARM_UPS)
        feast_s = _time_feast(folder, folder / str(ROWS))
        if feast_s is not None:
            ratios["asof_vs_feast"] = Spread.of([feast_s / own for own in pairs.ours])
        ours, theirs = _sides(spark, ONCE, folder)
        ratios[_name_ratio(ONCE)] = Spread.of([time_once(theirs) / time_once(ours)])
        large = _measure_large(spark, server.folder, folder / "large")
    write_result(
        "asof",
        ratios=ratios,
        figures={"rows": ROWS, "feast_s": feast_s or "could not be installed here", "large": large},
        notes="seconds of theirs over seconds of ours; every decision sees the last version of three records",
    )
    return 0


def _name_ratio(rows: int) -> str:
    return "asof_vs_pandas" if rows == ROWS else f"asof_vs_pandas_at_{rows}"


def _sides(spark: "SparkSession", rows: int, folder: Path) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return ours and theirs over a world of its own, both run once and found equal."""
    world = folder / str(rows)
    write_world(rows, world)

    def ours() -> None:
        build_ours(spark, world, world / "ours")

    def theirs() -> None:
        asof_pandas.build(world, world / "pandas")

    ours()
    theirs()
    assert_equal(world / "ours", world / "pandas")
    return ours, theirs


def build_ours(spark: "SparkSession", folder: Path, target: Path) -> None:
    """Build the features as `build_features` does of a staged spine."""
    spine = spark.read.schema(SPINE_SCHEMA).parquet(str(folder / "spine.parquet"))
    sources = {
        name: AsofSource(
            SourceView(name=name, record_keys=("entity",), join={"entity": "entity"}),
            spark.read.schema(SOURCE_SCHEMA).parquet(str(folder / f"{name}.parquet")),
        )
        for name in SOURCES
    }
    figures = SpineFigures({format_night(night): 1 for night in NIGHTS}, NIGHTS[0], NIGHTS[-1])
    features = build_features(spine, figures, sources, _FEATURES_SQL, SOURCES, (), ("entity",))
    features.write.mode("overwrite").parquet(str(target))


def assert_equal(ours: Path, theirs: Path, *, is_complete_only: bool = False) -> None:
    """Pass if both hold the same rows with the same values; if asked, of those rows only that know every source."""
    columns = ["row_id", *SOURCES]
    mine, other = (pd.read_parquet(path, columns=columns).sort_values("row_id") for path in (ours, theirs))
    if is_complete_only:
        mine, other = mine.dropna(), other.dropna()
    assert len(mine) == len(other) > 0
    assert (mine["row_id"].to_numpy() == other["row_id"].to_numpy()).all()
    for name in SOURCES:
        assert np.array_equal(mine[name].to_numpy(), other[name].to_numpy(), equal_nan=True), name
        assert mine[name].notna().mean() > 0.5, f"{name} is mostly empty: nothing was compared"


def _measure_large(spark: "SparkSession", server: Path, world: Path) -> dict[str, Any]:
    """Build the large count below the limit; pandas, given the same, must end for want of memory."""
    write_world(LARGE, world)
    seconds = time_once(lambda: build_ours(spark, world, world / "ours"))
    assert spark.read.parquet(str(world / "ours")).count() == LARGE
    peak_mb = read_peak_mb(server)
    assert peak_mb <= LIMIT_MB, f"the Spark server took {peak_mb} MB"
    command = [sys.executable, "-m", "benchmarks.asof_pandas", str(world), str(world / "pandas"), str(LIMIT_MB)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    reason = (ended.stderr.strip().splitlines() or [""])[-1]
    # a smaller world may fit below the limit
    if ROWS >= 1_000_000:
        assert ended.returncode != 0, "pandas finished below the limit"
        assert _OUT_OF_MEMORY.search(reason), reason
    return {
        "rows": LARGE,
        "limit_mb": LIMIT_MB,
        "ours_heap_mb": HEAP_MB,
        "ours_peak_mb": peak_mb,
        "ours_s": round(seconds, 1),
        "pandas": reason or "finished",
    }


def _time_feast(folder: Path, world: Path) -> float | None:
    """Install Feast where its pins disturb nobody and return its seconds; None where it cannot be installed."""
    home = folder / "feast"
    venv.create(home, with_pip=True)
    python = str(home / "bin" / "python")
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if subprocess.run([python, "-m", "pip", "install", "--quiet", "feast"], env=clean, check=False).returncode:
        return None
    script = Path(__file__).with_name("asof_feast.py")
    command = [python, str(script), str(world), str(world / "feast"), *SOURCES]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=clean, check=True)
    # Feast leaves out the decisions that come before the first version of a record
    assert_equal(world / "feast", world / "ours", is_complete_only=True)
    return float(run.stdout.split()[-1])


if __name__ == "__main__":
    sys.exit(main())
