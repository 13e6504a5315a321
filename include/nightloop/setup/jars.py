"""Fetch the Delta jars by pinned coordinate and checksum. Standard library only.

The client is Ivy, which pyspark carries: it needs nothing but Java and asks Maven Central, or the repository that
`NIGHTLOOP_MAVEN_URL` names.
"""

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

LOCK = Path(__file__).with_name("jars.lock")


@dataclass(frozen=True)
class Jar:
    """One line of the lock file."""

    organisation: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def read_lock(lock: Path = LOCK) -> list[Jar]:
    """Return the pinned jars, in the order of the lock file."""
    lines = (line.split() for line in lock.read_text().splitlines() if line and not line.startswith("#"))
    return [_parse_line(*line) for line in lines]


def _parse_line(coordinate: str, sha256: str) -> Jar:
    organisation, artifact, version = coordinate.split(":")
    return Jar(organisation, artifact, version, sha256)


def find_missing(folder: Path, jars: Sequence[Jar]) -> list[Jar]:
    """Return the jars that are not in the folder with their pinned content."""
    return [jar for jar in jars if not _has_content(folder / jar.file_name, jar.sha256)]


def fetch_jars(folder: Path, ivy: Path, shared: Path | None = None, lock: Path = LOCK) -> int:
    """Bring every jar of the lock file into the folder and return how many had to be fetched.

    `shared` is a second folder, of the machine's user, that keeps them for the next checkout.

    Raises:
        RuntimeError: a jar could not be fetched, or its content is not the pinned one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pinned = read_lock(lock)
    missing = find_missing(folder, pinned)
    for jar in list(missing):
        if shared and _has_content(shared / jar.file_name, jar.sha256):
            _copy(shared / jar.file_name, folder / jar.file_name)
            missing.remove(jar)
    if missing:
        with tempfile.TemporaryDirectory(dir=folder) as download:
            _retrieve(missing, ivy, Path(download))
            for jar in missing:
                _accept(jar, Path(download) / jar.file_name, folder)
    if shared:
        _keep(pinned, folder, shared)
    return len(missing)


def _keep(jars: Sequence[Jar], folder: Path, shared: Path) -> None:
    """Leave the jars in the user's cache, which may be read-only."""
    with contextlib.suppress(OSError):
        shared.mkdir(parents=True, exist_ok=True)
        for jar in find_missing(shared, jars):
            _copy(folder / jar.file_name, shared / jar.file_name)


def _accept(jar: Jar, fetched: Path, folder: Path) -> None:
    if not _has_content(fetched, jar.sha256):
        found = _sha256(fetched) if fetched.exists() else "no file"
        raise RuntimeError(f"{jar.file_name}: expected SHA-256 {jar.sha256}, found {found}; it was not installed")
    fetched.replace(folder / jar.file_name)


def _retrieve(jars: Sequence[Jar], ivy: Path, folder: Path) -> None:
    """Let Ivy download the jars, without the jars that they name themselves."""
    dependencies = "".join(
        f'<dependency org="{jar.organisation}" name="{jar.artifact}" rev="{jar.version}" transitive="false"/>'
        for jar in jars
    )
    module = folder / "ivy.xml"
    module.write_text(
        '<ivy-module version="2.0"><info organisation="nightloop" module="jars"/>'
        f'<configurations><conf name="default"/></configurations>'
        f'<dependencies defaultconfmapping="default->master">{dependencies}</dependencies></ivy-module>'
    )
    settings = folder / "settings.xml"
    root = os.environ.get("NIGHTLOOP_MAVEN_URL")
    where = f" root={quoteattr(root)}" if root else ""
    settings.write_text(
        '<ivysettings><settings defaultResolver="central"/>'
        f'<resolvers><ibiblio name="central" m2compatible="true"{where}/></resolvers></ivysettings>'
    )
    pattern = str(folder / "[artifact]-[revision].[ext]")
    options = ["-settings", str(settings), "-cache", str(folder / "cache"), "-ivy", str(module), "-retrieve", pattern]
    command = ["java", "-cp", str(ivy), "org.apache.ivy.Main", *options, "-types", "jar"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"Ivy could not fetch the jars:\n{(run.stdout + run.stderr)[-3000:]}")


def _copy(source: Path, target: Path) -> None:
    partial = target.with_suffix(f".{os.getpid()}.partial")
    partial.write_bytes(source.read_bytes())
    partial.replace(target)


def _has_content(path: Path, sha256: str) -> bool:
    return path.is_file() and _sha256(path) == sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    from nightloop.setup.packages import find_ivy

    lock_file, target = map(Path, sys.argv[1:3])
    sys.stdout.write(f"{fetch_jars(target, find_ivy(), lock=lock_file)} jars fetched into {target}\n")
