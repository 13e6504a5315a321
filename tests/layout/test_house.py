"""The house stays one that is seen at a glance: its figures are upper bounds, and tests lie where the code lies."""

import ast
from pathlib import Path

import pytest

from nightloop.settings import CHECKOUT
from tests.conftest import LANES, LONGEST
from tests.layout.house import LIBRARY, House, measure_house

MOST_UNITS, MOST_LEVELS, MOST_IMPORTS = 33, 7, 158  # before the packages were made: 72, 13, 402
PACKAGES = sorted(path.parent for path in (CHECKOUT / LIBRARY).rglob("__init__.py"))


@pytest.fixture(scope="module")
def house() -> House:
    return measure_house(CHECKOUT)


def test_the_house_grows_no_further(house: House) -> None:
    assert len(house.imports) <= MOST_UNITS
    assert max(house.levels.values()) <= MOST_LEVELS
    assert house.arrows <= MOST_IMPORTS


def test_the_count_sees_an_import(tmp_path: Path) -> None:
    library = tmp_path / LIBRARY
    (library / "upper").mkdir(parents=True)
    (library / "lower.py").write_text("")
    (library / "upper" / "reader.py").write_text("def read():\n    from nightloop.lower import rows\n    return rows\n")
    for name in ("dags", "jobs", "plugins/nightloop_airflow", "benchmarks"):
        (tmp_path / name).mkdir(parents=True)

    found = measure_house(tmp_path)

    assert found.imports["upper"] == {"lower"}
    assert (found.levels["upper"], found.levels["lower"], found.arrows) == (2, 1, 1)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.relative_to(CHECKOUT / LIBRARY.parent).as_posix())
def test_a_package_says_what_belongs_there(package: Path) -> None:
    assert ast.get_docstring(ast.parse((package / "__init__.py").read_text())), "one line: what belongs here, what not"


def test_unit_tests_mirror_the_library() -> None:
    tests = CHECKOUT / "tests" / "unit"
    places = {path.parent.relative_to(tests) for path in tests.rglob("test_*.py")} - {
        Path("benchmarks"),
        Path("nightloop_airflow"),
    }

    assert [place for place in places if not (CHECKOUT / LIBRARY / place).is_dir()] == []


def test_files_that_are_scheduled_by_name_exist() -> None:
    named = [*LONGEST, *(name for names in LANES.values() for name in names)]
    assert [name for name in named if not (CHECKOUT / "tests" / f"{name}.py").is_file()] == []
