"""One JVM writes a local lake: of two that race on a local file system both may be told that they committed.

Seen with Delta's log store for local files, whose only guard is inside one JVM: 2 of 9000 versions were acknowledged to
two writers. The lake remembers its writer; another one may take over once that process has ended.
"""

import fcntl
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from nightloop.fault import Fault, NightloopError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_FILE = ".writer.json"
_HOST, _PROCESS = "reflect('java.net.InetAddress', 'getLocalHost')", "reflect('java.lang.ProcessHandle', 'current')"


@dataclass(frozen=True, slots=True)
class LakeWriter:
    """A Spark driver: its application, its host, and its process by id and start (seconds since 1970)."""

    application: str
    host: str
    pid: int
    started: float | None

    @property
    def has_ended(self) -> bool:
        """Tell whether the process is gone for certain; of another host's processes nothing is certain."""
        return self.host == socket.gethostname() and _start_of(self.pid) != self.started


def claim_lake(spark: "SparkSession", root: Path) -> None:
    """Make the session's Spark driver the writer of a local lake; nothing happens where it is that already.

    Raises:
        NightloopError: another driver writes the lake and has not ended, or nobody can tell whether it has; the folder
            cannot be written.
    """
    application = str(spark.conf.get("spark.app.id"))
    # read and claimed under one lock: of two drivers that come at once the second one sees the first
    with _locked(root / ".writer.lock"):
        writer = _read_writer(root / _FILE)
        if writer is not None and writer.application == application:
            return
        if writer is not None and not writer.has_ended:
            raise _two_writers(root, writer, application)
        _write_writer(root / _FILE, _describe_driver(spark, application))


def _describe_driver(spark: "SparkSession", application: str) -> LakeWriter:
    row = spark.sql(f"SELECT {_HOST} AS host, {_PROCESS} AS pid").collect()[0]
    host, pid = str(row["host"]).partition("/")[0], int(row["pid"])
    return LakeWriter(application, host, pid, _start_of(pid) if host == socket.gethostname() else None)


def _start_of(pid: int) -> float | None:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a")
    except OSError as error:
        remedy = "mount it for writing, or give this user the right to"
        raise NightloopError(
            Fault(f"lake {path.parent}", "a folder to write to", f"{error.strerror}", remedy)
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read_writer(path: Path) -> LakeWriter | None:
    try:
        return LakeWriter(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None


def _write_writer(path: Path, writer: LakeWriter) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(writer)))
    partial.replace(path)


def _two_writers(root: Path, writer: LakeWriter, application: str) -> NightloopError:
    found = f"{application}, while {writer.application} (process {writer.pid} on {writer.host}) writes it"
    remedy = f"point SPARK_REMOTE to that server, or stop it; if its host is gone for good, remove {root / _FILE}"
    return NightloopError(Fault(f"lake {root}", "one Spark driver that writes a local lake", found, remedy))
