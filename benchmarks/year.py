"""A year of history in one replay, and what one night costs as the history before it grows.

`make bench NAME=year`. The packaged taxi use case over 365 nights of `NIGHTLOOP_BENCH_ROWS` trips in all (1e6 by
default). First the whole year is taken in, featured, measured and trained on in one replay, as the bootstrap DAG does;
the peak memory of the Spark server and of this process, which runs the jobs, is recorded. Then the same landing zone
is walked through by two loops, one with the bounded lookbacks of the folder and one that looks back without bound;
at some nights, three nights are run alone and timed.
"""

import os
import resource
import shutil
import statistics
import sys
import tempfile
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import yaml

from benchmarks.harness import Spread, read_peak_mb, time_once, write_result
from nightloop.engine.server import ConnectServer, running_server
from nightloop.engine.session import open_session
from nightloop.settings import CHECKOUT
from nightloop.simulate.world import simulate
from tests.loop import Loop, copy_folders

SCOPE = "taxi_duration"
ROWS = int(os.environ.get("NIGHTLOOP_BENCH_ROWS", "1000000"))
NIGHTS = tuple(datetime(2025, 1, 2, 2, tzinfo=UTC) + timedelta(days=number) for number in range(365))
MARKS = (10, 50, 100, 200, 300)  # ordinals of the nights that are timed, each with the two that follow
TIMED = 3


def main() -> int:
    with (
        tempfile.TemporaryDirectory(prefix="nightloop-bench-") as folder,
        running_server(Path(folder) / "engine") as server,
    ):
        top = Path(folder)
        bounded = Loop(top / "bounded", SCOPE, server.remote, (CHECKOUT / "include",), top / "landing")
        with open_session(server.remote, str(uuid.uuid4())) as spark:
            simulate(bounded.use_case, spark, top / "landing", NIGHTS, ROWS // len(NIGHTS))
        year = Loop(top / "year", SCOPE, server.remote, bounded.folders, bounded.landing)
        bootstrap = _bootstrap(year, server)
        shutil.rmtree(year.home)
        unbounded = Loop(top / "unbounded", SCOPE, server.remote, (_without_bounds(top),), bounded.landing)
        curves = {"bounded": _walk(bounded), "unbounded": _walk(unbounded)}
    growth = {name: Spread.of([curve[MARKS[0]] / curve[MARKS[-1]]]) for name, curve in curves.items()}
    write_result(
        "year",
        ratios={f"night_{MARKS[0]}_vs_{MARKS[-1]}_{name}": spread for name, spread in growth.items()},
        figures={"rows": ROWS, "bootstrap": bootstrap, "seconds_of_night": curves},
        notes=f"a night is the median of {TIMED}, all its jobs run one after the other in one process",
    )
    return 0


def _bootstrap(loop: Loop, server: ConnectServer) -> dict[str, object]:
    """Take the year in as one replay and train on it; return seconds, rows and peak memory."""
    loop.migrate()
    replay_s = time_once(lambda: loop.night(NIGHTS[-1], NIGHTS[0], reports=False))
    train_s = time_once(lambda: loop.retrain(NIGHTS[-1]))
    assert loop.results[-1].facts["answer"] == "promote", loop.results[-1].facts
    cleaned = {result.run_key.scope: dict(result.counts) for result in loop.results if result.job == "clean_source"}
    return {
        "replay_s": round(replay_s, 1),
        "train_s": round(train_s, 1),
        "rows": cleaned,
        "spark_peak_mb": read_peak_mb(server.folder),
        "jobs_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        # of children that have ended: the ranks, and not the server, which still runs
        "ranks_peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
    }


def _walk(loop: Loop) -> dict[int, float]:
    """Run the nights up to the last mark, most of them in replays; return seconds of a night by its ordinal."""
    loop.migrate()
    curve, done = {}, 0
    for mark in MARKS:
        loop.night(NIGHTS[mark - 2], NIGHTS[done], reports=False)
        if not done:
            # from here on nights have a champion, and score
            loop.retrain(NIGHTS[mark - 2])
        timed = NIGHTS[mark - 1 : mark - 1 + TIMED]
        curve[mark] = round(statistics.median(time_once(partial(loop.night, night)) for night in timed), 2)
        done = mark - 1 + TIMED
        print(f"{loop.home.name}: night {mark} took {curve[mark]} s", flush=True)
    return curve


def _without_bounds(top: Path) -> Path:
    """Copy the folders of the use case; its sources look back without bound."""
    folders = copy_folders(SCOPE, top / "folders")
    for path in folders.glob("sources/*/source.yaml"):
        document = yaml.safe_load(path.read_text())
        document.pop("lookback_days", None)
        path.write_text(yaml.safe_dump(document))
    return folders


if __name__ == "__main__":
    sys.exit(main())
