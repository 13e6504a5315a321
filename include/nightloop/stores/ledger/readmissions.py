"""Which quarantined rows come back, as of which night: what a night takes up again is decided here, once."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, insert, select

from nightloop.fault import Fault, FencedError
from nightloop.run import MAIN_VARIANT, Replay
from nightloop.stores.database.engine import insert_missing, writing
from nightloop.stores.ledger.part import LedgerPart, nights_within
from nightloop.stores.ledger.rows import ReadmissionRow, row_as
from nightloop.stores.ledger.schema import audit, closed_nights, readmissions

CLOSING = "closed_nights"  # readmissions and the closing of nights come one after the other
ACTION = "readmit_rows"


class ReadmissionRecords(LedgerPart):
    """Readmissions by the night that takes the rows up; of the variant `main` only."""

    def readmit(self, rows: Sequence[ReadmissionRow], token: int, known: int) -> None:
        """Record what one open night takes up again, with a line of audit.

        `known` is the number of the source's readmissions when the rows were chosen.

        Raises:
            FencedError: in the meantime the night has closed, or somebody has readmitted rows.
        """
        scope, as_of = rows[0].scope, rows[0].as_of
        key = {"scope": scope, "as_of": as_of, "variant": MAIN_VARIANT}
        total = sum(row.count for row in rows)
        with writing(self._engine, CLOSING) as connection:
            _assert_unchanged(connection, key, known)
            insert_missing(connection, readmissions, [{**asdict(row), **key, "token": token} for row in rows])
            line = {"action": ACTION, "actor": rows[0].actor, "why": rows[0].why, "from": "quarantine"}
            to = f"{total} rows of {len(rows)} files"
            connection.execute(insert(audit).values({**line, "scope": scope, "as_of": as_of, "to": to}))

    def readmissions(
        self, scope: str, replay: Replay | None = None, variant: str = MAIN_VARIANT
    ) -> list[ReadmissionRow]:
        """Return what the nights of a replay take up again, or every night of a scope; oldest night first."""
        query = select(readmissions).where(readmissions.c.scope == scope, readmissions.c.variant == variant)
        if replay is not None:
            query = query.where(_nights_of(replay))
        order = (readmissions.c.as_of, readmissions.c.token, readmissions.c.checksum)
        rows = self._fetch(query.order_by(*order))
        return [row_as(ReadmissionRow, row, rows=tuple((first, last) for first, last in row["rows"])) for row in rows]


def count_readmissions(connection: Connection, replay: Replay) -> int:
    """Return how many readmissions the nights of a replay have."""
    query = select(func.count()).select_from(readmissions).where(_nights_of(replay))
    return int(connection.scalar(query) or 0)


def _nights_of(replay: Replay) -> ColumnElement[bool]:
    return nights_within(readmissions, replay.scope, replay.first, replay.last, replay.variant)  # type: ignore[no-any-return]


def _assert_unchanged(connection: Connection, key: Mapping[str, Any], known: int) -> None:
    where = f"readmission of {key['scope']} as of {key['as_of'].isoformat()}"
    is_this = (closed_nights.c[name] == value for name, value in key.items())
    if connection.scalar(select(closed_nights.c.token).where(*is_this)) is not None:
        raise FencedError(Fault(where, "an open night", "a closed one", "the next attempt takes the next night"))
    of_scope = (readmissions.c.scope == key["scope"], readmissions.c.variant == key["variant"])
    found = int(connection.scalar(select(func.count()).select_from(readmissions).where(*of_scope)) or 0)
    if found != known:
        remedy = "the next attempt chooses among the rows that are left"
        raise FencedError(Fault(where, f"{known} readmissions before it", f"{found}", remedy))
