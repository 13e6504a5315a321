"""What the docs say of the tree is true: the picture shows every unit, and every file that a page names is there."""

import re
from pathlib import Path

import pytest

from nightloop.settings import CHECKOUT
from tests.layout.house import LIBRARY, measure_house

PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
TOPS = (CHECKOUT, CHECKOUT / LIBRARY, CHECKOUT / "tests")


def test_the_picture_shows_every_unit() -> None:
    shown = set(re.findall(r">(\w+)</text>", (CHECKOUT / "docs" / "house.svg").read_text()))
    assert measure_house(CHECKOUT).imports.keys() <= shown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(r"`([\w/]+\.py)`", page.read_text())
    assert [name for name in named if not any((top / name).is_file() for top in TOPS)] == []
