"""Take a subject's records out of the files that a source has received, and tell the manifest."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from nightloop.etl.arrivals import HISTORY
from nightloop.etl.records import Record, drop_records
from nightloop.folders.source import Source
from nightloop.privacy.keyed import hash_text
from nightloop.privacy.subject import as_whole_number, match_record
from nightloop.stores.landing.landing import LandedFile, compute_checksum, list_files, open_file, replace_content
from nightloop.stores.ledger.ledger import Ledger
from nightloop.stores.ledger.rows import FileRow

_WHOLE = ("int", "bigint")
_FAR = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class LandedSource:
    """The landed files of a source, and what tells the subject's records in them.

    `columns` hold the subject's values by received column; a record that does not parse is the subject's when `traces`
    finds an identifier in it.
    """

    source: Source
    landing: str
    columns: Mapping[str, set[str]]
    keys: Sequence[bytes]
    traces: "re.Pattern[bytes]"

    def plan(self) -> list[dict[str, Any]]:
        """Return which files hold the subject: path, checksum and records; nothing is changed."""
        planned = []
        for file in list_files(self.source.uri, self.landing) if self.columns else ():
            _, dropped = self._without(file)
            if dropped:
                planned.append({"path": file.path, "checksum": compute_checksum(file), "records": dropped})
        return planned

    def erase(
        self, planned: Sequence[Mapping[str, Any]], record: Callable[[LandedFile, int], None]
    ) -> list[dict[str, Any]]:
        """Write planned files anew without the subject's records; `record` hears of each, with the records it lost."""
        listing, erased = {file.path: file for file in list_files(self.source.uri, self.landing)}, []
        for plan in planned:
            file = listing.get(plan["path"])
            if file is not None:
                content, dropped = self._without(file)
                # nothing to drop: a killed attempt has written the file, perhaps before it could tell the manifest
                size = replace_content(file, content) if dropped else file.size
                record(replace(file, size=size), plan["records"])
                erased.append({**plan, "checksum_after": compute_checksum(file), "size_after": size})
        return erased

    def _without(self, file: LandedFile) -> tuple[bytes, int]:
        with open_file(file) as stream:
            return drop_records(stream.read(), self.source.format, self._is_own)

    def _is_own(self, raw: bytes, record: Record | None) -> bool:
        if record is None:
            return self.traces.search(raw) is not None
        return match_record(record, self.columns, {name: partial(self._forms, name) for name in self.columns})

    def _forms(self, column: str, text: str) -> Iterable[str]:
        """Return how a received text is stored."""
        if column in self.source.pii:
            return (hash_text(text, key) for key in self.keys)
        return as_whole_number(text) if self.source.columns[column].type in _WHOLE else (text,)


def rerecord_file(ledger: Ledger, source: str, token: int, file: LandedFile, dropped: int) -> None:
    """Tell the manifest a file's new size: it keeps the checksum it arrived with, its night and its arrival."""
    rows = [
        _resized(row, file.size, dropped)
        for row in ledger.files(source, HISTORY, _FAR)
        if (row.path, row.arrived_at) == (file.path, file.arrived_at) and row.size != file.size
    ]
    ledger.record_files(source, rows, token)


def _resized(row: FileRow, size: int, dropped: int) -> FileRow:
    return replace(row, size=size, rows=None if row.rows is None else max(row.rows - dropped, 0))
