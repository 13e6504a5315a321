"""What the machine itself must have: Java and, to build Horovod, a compiler. Standard library only."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from nightloop.setup.step import CACHE, SetupError, run_quietly

MIN_JAVA = 17
BUILD_TOOLS = {"g++": "g++", "cmake": "cmake", "make": "make"}
JAVA_PACKAGE = "openjdk-17-jre-headless"


def find_java() -> Path | None:
    """Return the Java that Spark would start: of `JAVA_HOME`, else of the PATH."""
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    return Path(found) if found and Path(found).exists() else None


def read_java_version(java: Path) -> int | None:
    """Return the major version, or None where it does not say."""
    run = subprocess.run([str(java), "-version"], capture_output=True, text=True, check=False)
    return parse_java_version(run.stderr + run.stdout)


def parse_java_version(text: str) -> int | None:
    """Return the major version that `java -version` names; Java 8 calls itself 1.8.

    >>> parse_java_version('openjdk version "17.0.15" 2025-04-15')
    17
    """
    found = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(found[1]) if found else None


def list_missing(*, is_building: bool) -> list[str]:
    """Return the Debian packages to install; those of the compiler count only where Horovod has to be built."""
    java = find_java()
    missing = [] if java and (read_java_version(java) or 0) >= MIN_JAVA else [JAVA_PACKAGE]
    if is_building:
        missing += [package for tool, package in BUILD_TOOLS.items() if shutil.which(tool) is None]
    return missing


def install_packages(packages: list[str]) -> None:
    """Install Debian packages.

    Raises:
        SetupError: this user may not, or there is no apt-get; names the packages.
    """
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SetupError(f"missing on this machine: {' '.join(packages)}. Install them, then run `make setup` again")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    log = CACHE / "logs" / "apt.log"
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    try:
        run_quietly(install, log, quiet)
    except SetupError:  # the package lists of a new machine are empty or old
        run_quietly(["apt-get", "update"], log, quiet)
        run_quietly(install, log, quiet)
