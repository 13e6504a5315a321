"""Python packages: the hash-locked file and the project itself. Standard library only."""

import sys
from pathlib import Path

from nightloop.setup.step import CACHE, CHECKOUT, digest, run_quietly

REQUIREMENTS = CHECKOUT / "requirements.txt"


def name_requirements() -> str:
    return digest(REQUIREMENTS.read_text())


def install_requirements(uv: str) -> str:
    """Install exactly what requirements.txt pins; every file must have its hash.

    Compiled at once: where bytecode may not be written later, each process would compile what it imports anew.
    """
    options = ["--python", sys.executable, "--require-hashes", "--compile-bytecode", "-r", str(REQUIREMENTS)]
    run_quietly([uv, "pip", "install", *options], CACHE / "logs" / "packages.log")
    count = sum("==" in line for line in REQUIREMENTS.read_text().splitlines() if line[:1].isalnum())
    return f"{count} packages"


def name_project() -> str:
    """Return what an editable installation depends on: its metadata and where the checkout lies."""
    return digest((CHECKOUT / "pyproject.toml").read_text(), str(CHECKOUT))


def install_project(uv: str) -> str:
    options = ["--python", sys.executable, "--no-deps", "--no-build-isolation", "--editable", str(CHECKOUT)]
    run_quietly([uv, "pip", "install", *options], CACHE / "logs" / "project.log")
    return "the command `nightloop` stands in .venv/bin"


def find_ivy() -> Path:
    """Return Ivy's jar, which pyspark carries."""
    site = Path(sys.prefix) / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (ivy,) = (site / "pyspark" / "jars").glob("ivy-*.jar")
    return ivy
