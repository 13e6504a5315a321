"""The manifest of files: which arrived when, and which night takes each."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select

from nightloop.stores.database.engine import insert_missing, writing
from nightloop.stores.ledger.part import LedgerPart
from nightloop.stores.ledger.rows import FileRow, row_as
from nightloop.stores.ledger.schema import files


class FileRecords(LedgerPart):
    """The files of every source, one current row per checksum."""

    def record_files(self, source: str, rows: Sequence[FileRow], token: int) -> None:
        """Append the rows that say something new; a file that is recorded as it is adds none."""
        with writing(self._engine, f"files/{source}") as connection:
            known = {row_as(FileRow, row) for row in connection.execute(_current(source)).mappings()}
            new = [row for row in rows if row not in known]
            insert_missing(connection, files, [{**asdict(row), "source": source, "token": token} for row in new])

    def files(self, source: str, first: datetime, last: datetime) -> list[FileRow]:
        """Return the files that the nights from first to last take, in order of arrival."""
        current = _current(source).subquery()
        query = select(current).where(current.c.as_of.between(first, last))
        return [row_as(FileRow, row) for row in self._fetch(query.order_by(current.c.arrived_at, current.c.path))]

    def known_checksums(self, source: str) -> set[str]:
        """Return the checksums of every file that was ever recorded for a source."""
        query = select(files.c.checksum).where(files.c.source == source).distinct()
        return {row["checksum"] for row in self._fetch(query)}


def _current(source: str) -> Select[Any]:
    recency = func.row_number().over(partition_by=files.c.checksum, order_by=(files.c.token.desc(), files.c.id.desc()))
    ranked = select(files, recency.label("recency")).where(files.c.source == source).subquery()
    return select(ranked).where(ranked.c.recency == 1)
