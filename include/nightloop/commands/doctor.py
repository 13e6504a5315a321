"""Examine the machine and the installation: what is there, what is missing, what to do about it."""

import os
import shutil
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

from nightloop.engine.profile import find_jars
from nightloop.engine.server import CLASS_ARCHIVE
from nightloop.settings import CHECKOUT, Settings
from nightloop.setup import horovod, jars, system
from nightloop.stack.stack import find_stack
from nightloop.stores.lake.damage import examine_lake

_MIN_FREE_GB = 2
_MIN_MEMORY_GB = 6
_PINNED = ("apache-airflow", "pyspark", "delta-spark", "great-expectations", "scikit-learn", "mlflow", "evidently",
           "sqlalchemy", "torch", "protobuf")  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing that was examined; `remedy` says what to do where it is not good."""

    name: str
    found: str
    is_good: bool = True
    remedy: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Look at everything the stack needs; looking changes nothing."""
    looks: Sequence[Callable[[], list[Finding]]] = (
        _look_at_python,
        _look_at_java,
        _look_at_compilers,
        _look_at_jars,
        _look_at_versions,
        lambda: _look_at_machine(settings.home),
        lambda: _look_at_ports(settings.home),
        lambda: _look_at_lake(settings.lake),
    )
    return [finding for look in looks for finding in look()]


def print_findings(findings: Sequence[Finding]) -> None:
    """Print one line per finding, and below a bad one what to do."""
    for finding in findings:
        mark = "ok " if finding.is_good else "BAD"
        sys.stdout.write(f"{mark}  {finding.name:<20} {finding.found}\n")
        if not finding.is_good:
            sys.stdout.write(f"     {'':<20} → {finding.remedy}\n")


def _look_at_python() -> list[Finding]:
    version = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    return [Finding("Python", version, sys.version_info[:2] == (3, 11), "remove .venv and run `make setup`")]


def _look_at_java() -> list[Finding]:
    java = system.find_java()
    version = system.read_java_version(java) if java else None
    remedy = f"install {system.JAVA_PACKAGE}, or point JAVA_HOME to Java {system.MIN_JAVA} or later"
    return [Finding("Java", f"{version} at {java}" if java else "none", (version or 0) >= system.MIN_JAVA, remedy)]


def _look_at_compilers() -> list[Finding]:
    """Compilers matter only to a machine that still has to build Horovod."""
    is_needed = horovod.find_wheel() is None and not horovod.is_installed()
    missing = [package for tool, package in system.BUILD_TOOLS.items() if shutil.which(tool) is None]
    found = f"missing: {' '.join(missing)}" if missing else "all there"
    note = "" if is_needed else " (Horovod is built already)"
    return [Finding("compilers", found + note, not (missing and is_needed), f"apt-get install {' '.join(missing)}")]


def _look_at_jars() -> list[Finding]:
    folder = Path(os.environ.get("NIGHTLOOP_JARS") or CHECKOUT / ".cache" / "jars")
    missing = jars.find_missing(folder, jars.read_lock())
    names = ", ".join(jar.file_name for jar in missing)
    found = f"missing or altered: {names}" if missing else f"{len(find_jars())} with their pinned checksums"
    archive = "there" if CLASS_ARCHIVE.is_file() else "none: Spark starts more slowly; `make setup` makes one"
    return [Finding("Delta jars", found, not missing, "run `make setup`"), Finding("class archive", archive)]


def _look_at_versions() -> list[Finding]:
    findings = [_compare_version(package, horovod.read_pin(package)) for package in _PINNED]
    return [*findings, _compare_version("horovod", horovod.VERSION)]


def _compare_version(package: str, pinned: str) -> Finding:
    try:
        found = metadata.version(package)
    except metadata.PackageNotFoundError:
        found = "none"
    # a local label, such as torch's +cpu, says how it was built, not which version it is
    is_good = found.partition("+")[0] == pinned.partition("+")[0]
    return Finding(package, found if is_good else f"{found}, pinned {pinned}", is_good, "run `make setup`")


def _look_at_machine(home: Path) -> list[Finding]:
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    free_gb = shutil.disk_usage(place).free / 1e9
    memory_gb = psutil.virtual_memory().available / 1e9
    cores = len(os.sched_getaffinity(0))
    return [
        Finding("cores", str(cores), cores > 1, "the stack runs on one core, slowly; training wants one per rank"),
        Finding("memory", f"{memory_gb:.1f} GB available", memory_gb >= _MIN_MEMORY_GB, f"free {_MIN_MEMORY_GB} GB"),
        Finding(
            "disk", f"{free_gb:.0f} GB free at {place}", free_gb >= _MIN_FREE_GB, "set NIGHTLOOP_HOME to a larger disk"
        ),
    ]


def _look_at_lake(root: str) -> list[Finding]:
    if "://" in root or not Path(root).is_dir():
        return []
    faults = examine_lake(Path(root))
    damaged = [
        Finding(fault.where, f"{fault.found}; expected {fault.expected}", False, fault.remedy) for fault in faults
    ]
    return damaged or [Finding("lake", f"no table of {root} is damaged")]


def _look_at_ports(home: Path) -> list[Finding]:
    state = find_stack(home)
    if state is not None:
        return [Finding("ports", f"the stack runs: {', '.join(state.urls.values())}")]
    usual = {"Airflow": 8080, "MLflow": 5000, "Spark Connect": 15002}
    return [Finding(f"port {port}", _describe_port(port, name)) for name, port in usual.items()]


def _describe_port(port: int, name: str) -> str:
    with closing(socket.socket()) as probe:
        is_taken = probe.connect_ex(("127.0.0.1", port)) == 0
    return f"taken; {name} will choose another" if is_taken else f"free for {name}"
