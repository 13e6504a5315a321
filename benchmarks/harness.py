"""Time two ways of doing one thing in interleaved pairs, and write what was found with machine and versions.

A noisy machine slows both members of a pair alike, so ratios are taken within pairs; the median is reported with the
smallest and the largest beside it.
"""

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

RESULTS = Path(__file__).with_name("results")
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
MIN_PAIRS = 5
_VERSIONS = ("apache-airflow", "pyspark", "delta-spark", "great-expectations", "mlflow", "evidently", "scikit-learn",
             "torch", "horovod", "onnxruntime", "sqlalchemy", "pandas", "pyarrow")  # fmt: skip


@dataclass(frozen=True)
class Spread:
    """A median and what lies around it."""

    median: float
    least: float
    most: float
    runs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarise some measurements.

        >>> Spread.of([3.0, 1.0, 2.0])
        Spread(median=2.0, least=1.0, most=3.0, runs=3)
        """
        return cls(round(statistics.median(values), 4), round(min(values), 4), round(max(values), 4), len(values))


@dataclass(frozen=True)
class Pairs:
    """Seconds of two sides; entry i of both was measured one right after the other."""

    ours: Sequence[float]
    theirs: Sequence[float]

    @property
    def ratio(self) -> Spread:
        """How many times as fast ours is."""
        return Spread.of([theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)])


def measure_pairs(
    ours: Callable[[], object], theirs: Callable[[], object], *, pairs: int = MIN_PAIRS, warm_ups: int = 1
) -> Pairs:
    """Time both sides in turn; which one goes first changes from pair to pair."""
    if pairs < MIN_PAIRS:
        raise ValueError(f"a ratio needs at least {MIN_PAIRS} pairs, found {pairs}")
    for _ in range(warm_ups):
        ours()
        theirs()
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for index in range(pairs):
        order = [("ours", ours), ("theirs", theirs)]
        for name, side in order if index % 2 == 0 else reversed(order):
            seconds[name].append(time_once(side))
        print(f"pair {index + 1}/{pairs}: ours {seconds['ours'][-1]:.3f} s, theirs {seconds['theirs'][-1]:.3f} s")
    return Pairs(seconds["ours"], seconds["theirs"])


def time_once(side: Callable[[], object]) -> float:
    start = time.perf_counter()
    side()
    return time.perf_counter() - start


def read_peak_mb(folder: Path) -> int:
    """Return the peak resident memory, in MB, of the child process that works in this folder."""
    (found,) = [process for process in psutil.Process().children() if Path(process.cwd()) == folder]
    # the high-water mark that the kernel keeps: samples would miss a short peak
    lines = Path(f"/proc/{found.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024


def write_result(
    name: str,
    *,
    ratios: Mapping[str, Pairs | Spread],
    figures: Mapping[str, Any] | None = None,
    notes: str = "",
    folder: Path = RESULTS,
) -> Path:
    """Write `results/<name>.json`.

    `ratios` are the comparisons, each with its spread and, from pairs, the seconds of both sides; `figures` holds
    what else was measured, in the shape of the benchmark's own choice.
    """
    document = {
        "name": name,
        "measured_wall": datetime.now(UTC).isoformat(timespec="seconds"),
        "ratios": {key: _describe_ratio(value) for key, value in ratios.items()},
        "figures": dict(figures or {}),
        "notes": notes,
        "versions": read_versions(),
        "machine": describe_machine(),
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
    for key, ratio in document["ratios"].items():  # type: ignore[attr-defined]
        print(f"{key}: {ratio['median']} ({ratio['least']} to {ratio['most']} in {ratio['runs']} runs)")
    print(f"written to {path}")
    return path


def write_section(name: str, text: str, page: Path = PAGE) -> None:
    """Put text between the marks of a benchmark on the page that tells people the figures.

    Raises:
        ValueError: the page has no such marks.
    """
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page} has no `{begin.strip()}` and `{end}`")
    page.write_text(f"{before}{begin}{text}\n{closed}{after}")
    print(f"written to {page}")


def read_versions() -> dict[str, str]:
    """Return the versions of what is measured, the project's own commit among them."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    found = {"nightloop": commit.stdout.strip() or "unknown", "python": platform.python_version()}
    for package in _VERSIONS:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def describe_machine() -> dict[str, Any]:
    """Return what a reader needs to judge a figure; the load tells whether the machine was busy with other things."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory_gb, 1),
        "system": platform.platform(terse=True),
        "load_1_5_15": [round(load, 2) for load in os.getloadavg()],
    }


def _describe_ratio(value: Pairs | Spread) -> dict[str, Any]:
    if isinstance(value, Spread):
        return vars(value)
    return {**vars(value.ratio), "ours_s": vars(Spread.of(value.ours)), "theirs_s": vars(Spread.of(value.theirs))}
