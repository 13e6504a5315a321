"""The audit: who changed what, when and why; the nights that a retention let go among it."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import and_, insert, select

from nightloop.dataset import DatasetRef, Layer
from nightloop.run import format_night, parse_night
from nightloop.stores.database.engine import writing
from nightloop.stores.ledger.part import LedgerPart
from nightloop.stores.ledger.rows import AuditRow, row_as
from nightloop.stores.ledger.schema import audit

EXPIRE = "expire"


class AuditRecords(LedgerPart):
    """Lines of audit by scope, in the order in which they were written."""

    def write_audit(self, scope: str, action: str, actor: str, why: str, from_: str, to: str, as_of: datetime) -> None:
        """Append one line of audit; the same line written again adds none."""
        row = {"scope": scope, "action": action, "actor": actor, "why": why, "from": from_, "to": to, "as_of": as_of}
        with writing(self._engine, f"audit/{scope}") as connection:
            same = and_(*(audit.c[name] == value for name, value in row.items()))
            if connection.scalar(select(audit.c.id).where(same)) is None:
                connection.execute(insert(audit).values(row))

    def record_expiry(self, ref: DatasetRef, before: datetime, why: str, as_of: datetime) -> None:
        """Record that a table's nights before an instant are dropped, before it is done."""
        self.write_audit(ref.owner, EXPIRE, "compact_lake", why, str(ref), format_night(before), as_of)

    def expired_before(self, scope: str, layers: Collection[Layer]) -> datetime | None:
        """Return the first night that no retention has dropped from any of a scope's layers; None if none did."""
        rows = [row for row in self.audit(scope) if row.action == EXPIRE and row.from_.partition("/")[0] in layers]
        return max((parse_night(row.to) for row in rows), default=None)

    def audit(self, scope: str) -> list[AuditRow]:
        """Return the audit of a scope in the order it was written."""
        rows = self._fetch(select(audit).where(audit.c.scope == scope).order_by(audit.c.id))
        return [row_as(AuditRow, row, from_=row["from"]) for row in rows]
