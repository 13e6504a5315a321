"""Counts the house: how many parts one sees at once, how they are stacked, how many arrows run between them.

A unit is a module or a package at the library's root, or one of `dags`, `jobs`, `nightloop_airflow`, `benchmarks`. An
import is a pair of units of which one imports the other, anywhere in its code. A unit's level is one more than the
highest level of what it imports. `python -m tests.layout.house [CHECKOUT]` prints the figures of any checkout.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path

LIBRARY = Path("include") / "nightloop"
BESIDE = {
    "dags": Path("dags"),
    "jobs": Path("jobs"),
    "nightloop_airflow": Path("plugins") / "nightloop_airflow",
    "benchmarks": Path("benchmarks"),
}


@dataclass(frozen=True)
class House:
    """The units of one checkout, each with the units that it imports."""

    imports: Mapping[str, frozenset[str]]

    @cached_property
    def levels(self) -> dict[str, int]:
        """The level of each unit.

        Raises:
            graphlib.CycleError: units import each other in a circle.
        """
        levels: dict[str, int] = {}
        for unit in TopologicalSorter(self.imports).static_order():
            levels[unit] = 1 + max((levels[other] for other in self.imports[unit]), default=0)
        return levels

    @property
    def arrows(self) -> int:
        return sum(map(len, self.imports.values()))

    def __str__(self) -> str:
        return f"{len(self.imports)} units, {max(self.levels.values())} levels, {self.arrows} imports"


def measure_house(checkout: Path) -> House:
    """Return the house of a checkout, read from its code as text."""
    units = dict(_list_units(checkout))
    found = {name: {one for file in _list_files(path) for one in _read_imports(file)} for name, path in units.items()}
    return House({name: frozenset((others & units.keys()) - {name}) for name, others in found.items()})


def _list_units(checkout: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted((checkout / LIBRARY).iterdir()):
        is_package = path.is_dir() and any(path.rglob("*.py"))
        if is_package or (path.suffix == ".py" and path.stem != "__init__"):
            yield path.stem, path
    yield from ((name, checkout / path) for name, path in BESIDE.items())


def _list_files(unit: Path) -> list[Path]:
    return [unit] if unit.is_file() else sorted(unit.rglob("*.py"))


def _read_imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for top, *rest in (name.split(".") for name in names):
            yield from rest[:1] if top == "nightloop" else {top} & BESIDE.keys()


if __name__ == "__main__":
    print(measure_house(Path(*sys.argv[1:2])))  # noqa: T201 - its one output
