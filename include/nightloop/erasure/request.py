"""What an operator asks to be erased, and the journal that lets a killed erasure go on where it ended.

Both lie in `erasures/` of the state folder, readable by their owner only, and are gone once the certificate is
written: a request holds the subject's identifiers as received, the journal whatever follows from them.
"""

import csv
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nightloop.fault import Fault, NightloopError
from nightloop.folders.source import Source
from nightloop.privacy.traces import is_searchable

FOLDER = "erasures"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_UNSEARCHABLE = ("drop", "generalise")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Request:
    """Identifiers of the subjects by column of one source, as the source delivers them or as they are stored."""

    name: str
    source: str
    subjects: int
    columns: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Inbox:
    """The protected folder of requests and journals."""

    folder: Path

    def request_path(self, name: str) -> Path:
        return self.folder / f"{name}.csv"

    def journal_path(self, name: str) -> Path:
        return self.folder / f"{name}.journal"

    def read(self, name: str, source: Source) -> Request:
        """Return a request; its file is CSV with a header of the source's columns and one subject per line.

        Raises:
            NightloopError: there is no such file, others may read it, or it names no column by which to find anyone.
        """
        path = self.request_path(check_name(name))
        _assert_private(path)
        # spreadsheets begin their CSV with a byte order mark
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
        columns = [column for column in (rows[0] if rows else {}) if column is not None]
        faults = [fault for column in columns if (fault := _check_column(path, column, source))]
        values = {column: frozenset(filter(None, ((row[column] or "").strip() for row in rows))) for column in columns}
        if not any(values.values()):
            faults.append(Fault(str(path), "a header of columns and one subject per line", "no value", "fill it in"))
        if faults:
            raise NightloopError(faults)
        return Request(name, source.name, len(rows), {column: found for column, found in values.items() if found})

    def close(self, name: str) -> None:
        """Remove a request and its journal: what they hold was erased everywhere else."""
        self.request_path(name).unlink(missing_ok=True)
        self.journal_path(name).unlink(missing_ok=True)


class Journal:
    """Results of the steps of one erasure, written down as each is done; a second attempt takes them from there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def once(self, step: str, act: Callable[[], Result]) -> Result:
        """Return the step's result, acting only if no attempt has done so; it must be a JSON value."""
        if step not in self.results:
            self.results[step] = act()
            partial = self._path.with_suffix(".partial")
            # private before it holds anything
            partial.touch(mode=0o600)
            partial.write_text(json.dumps(self.results))
            partial.replace(self._path)
        result: Result = self.results[step]
        return result

    def forget(self, prefix: str) -> None:
        """Have the steps of a prefix done anew by the next attempt."""
        kept = {step: result for step, result in self.results.items() if not step.startswith(prefix)}
        self.results = kept
        self._path.write_text(json.dumps(kept))


def read_identifiers(path: Path) -> list[str]:
    """Return the identifiers of a private file, one per line.

    Raises:
        NightloopError: there is no such file, others may read it, or some are too short to be told apart in a text.
    """
    _assert_private(path)
    values = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    short = [number for number, value in enumerate(values, 1) if not is_searchable(value)]
    if short or not values:
        found = f"shorter ones: number {', '.join(map(str, short))}" if short else "none"
        expected = "identifiers of four characters or nine digits at least"
        raise NightloopError(Fault(str(path), expected, found, "they would be found everywhere: leave them out"))
    return values


def check_name(name: str) -> str:
    """Return the name of a request.

    Raises:
        NightloopError: it is no plain name; it is shown to people, so it must not name the subject either.
    """
    if not _NAME.fullmatch(name):
        raise NightloopError(
            Fault(
                "name of the request", "a-z, 0-9, - and _, without `.csv`", "another", "rename the file, e.g. 2025-017"
            )
        )
    return name


def _check_column(path: Path, column: str, source: Source) -> Fault | None:
    if column not in source.columns:
        expected = f"columns of {source.name}: {', '.join(source.columns)}"
        return Fault(str(path), expected, "a header that is none of them", "correct the first line")
    treated = source.pii.get(column)
    if treated is not None and treated.treatment in _UNSEARCHABLE:
        remedy = "name the subject by a column that is kept or hashed"
        return Fault(f"{path} {column}", "a column that still tells people apart", treated.treatment, remedy)
    return None


def _assert_private(path: Path) -> None:
    if not path.is_file():
        remedy = (
            f"put the identifiers there as CSV, `chmod 600` it, and leave `.csv` out of the name; {FOLDER}/ is private"
        )
        raise NightloopError(Fault(f"request {path}", "a file", "none", remedy))
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise NightloopError(Fault(f"request {path}", "mode 0600", oct(mode), f"run `chmod 600 {path.name}`"))
