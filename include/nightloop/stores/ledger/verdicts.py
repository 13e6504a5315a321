"""Verdicts, the requests among them, and the one answer that closes each request."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, and_, insert, select

from nightloop.fault import Fault, NightloopError
from nightloop.run import MAIN_VARIANT, RunKey, format_night
from nightloop.stores.database.engine import current_rows, writing
from nightloop.stores.ledger.part import RUN_KEY, LedgerPart, key_of
from nightloop.stores.ledger.rows import AnswerRow, VerdictRow, row_as
from nightloop.stores.ledger.schema import answers, verdicts
from nightloop.verdict import Check, Verdict

DRIFT = "drift"
REQUEST = "retrain"


class VerdictRecords(LedgerPart):
    """Verdicts by kind and subject; a drift verdict that answers `retrain` stays open until it is answered."""

    def write_verdict(self, run_key: RunKey, token: int, verdict: Verdict, kind: str = DRIFT) -> None:
        row = {**key_of(run_key), "kind": kind, "token": token, **_to_columns(verdict)}
        self._append(verdicts, [row])

    def verdicts(
        self, scope: str, before: datetime | None = None, kind: str = DRIFT, variant: str = MAIN_VARIANT
    ) -> list[VerdictRow]:
        """Return the verdicts of a kind given in nights earlier than `before`, oldest first."""
        conditions = [verdicts.c.scope == scope, verdicts.c.kind == kind, verdicts.c.variant == variant]
        if before is not None:
            conditions.append(verdicts.c.as_of < before)
        current = current_rows(verdicts, (*RUN_KEY, "kind", "subject"), *conditions).subquery()
        rows = self._fetch(select(current).order_by(current.c.as_of, current.c.subject))
        return [row_as(VerdictRow, row, verdict=_from_columns(row)) for row in rows]

    def open_requests(self, scope: str) -> list[VerdictRow]:
        """Return the requests for a retraining that nobody answered, oldest first."""
        answered = {row.as_of for row in self.answers(scope)}
        return [row for row in self.verdicts(scope) if row.answer == REQUEST and row.as_of not in answered]

    def answers(self, scope: str) -> list[AnswerRow]:
        """Return the closed requests of a scope, oldest first."""
        query = select(answers).where(answers.c.scope == scope).order_by(answers.c.as_of)
        return [row_as(AnswerRow, row) for row in self._fetch(query)]

    def answer_request(self, scope: str, as_of: datetime, answered_by: str, outcome: str) -> None:
        """Close a request, once; the same answer given again changes nothing.

        Raises:
            NightloopError: there is no such request, or somebody else closed it.
        """
        with writing(self._engine, f"answers/{scope}") as connection:
            mine = and_(answers.c.scope == scope, answers.c.as_of == as_of)
            earlier = connection.execute(select(answers).where(mine)).mappings().first()
            if earlier is None:
                row = {"scope": scope, "as_of": as_of, "answered_by": answered_by, "outcome": outcome}
                connection.execute(insert(answers).values(row))
            elif earlier["answered_by"] != answered_by:
                where = f"retraining request of {scope} as of {format_night(as_of)}"
                found = f"{earlier['answered_by']} ({earlier['outcome']})"
                raise NightloopError(Fault(where, f"open, or closed by {answered_by}", found, "leave it closed"))


def _to_columns(verdict: Verdict) -> dict[str, Any]:
    checked = [asdict(check) for check in verdict.checks]
    return {**asdict(verdict), "columns": list(verdict.columns), "facts": dict(verdict.facts), "checks": checked}


def _from_columns(row: RowMapping | Mapping[str, Any]) -> Verdict:
    return Verdict(
        subject=row["subject"],
        answer=row["answer"],
        reason=row["reason"],
        checks=tuple(Check(**check) for check in row["checks"]),
        columns=tuple(row["columns"]),
        facts=row["facts"],
    )
