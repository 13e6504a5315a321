"""What the checks of sources and of use cases share: where an entry stands, a wrong name, a suite."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightloop.fault import Fault
from nightloop.folders.loading import Document
from nightloop.quality.params import Suite

_EXPECTATION = re.compile(r"expect_[a-z0-9_]+")


@dataclass(frozen=True)
class CheckedFolder:
    """A folder whose entries are typed, with the lines of its YAML."""

    path: Path
    main: Document

    def where(self, *path: str | int) -> str:
        return self.main.where(path)


def check_suite(document: Document, suite: Suite, known: set[str] | None) -> Iterator[Fault]:
    """Check the names of a suite's expectations and, where they are known, of its columns."""
    for index, expectation in enumerate(suite.expectations):
        if not _EXPECTATION.fullmatch(expectation.expect):
            where = document.where(("expectations", index, "expect"))
            yield Fault(where, "a name like expect_column_values_to_be_between", expectation.expect, "correct it")
        columns = [expectation.kwargs.get(name) for name in ("column", "column_A", "column_B")]
        for column in [column for column in columns if isinstance(column, str)]:
            if known is not None and column not in known:
                yield unknown(document.where(("expectations", index, "kwargs", "column")), "a column", known, column)


def unknown(where: str, expected: str, known: Any, found: str) -> Fault:
    """Return the fault of a name that is none of the known ones."""
    return Fault(where, f"{expected}: {', '.join(sorted(known)) or 'there is none'}", found, "correct the name")
