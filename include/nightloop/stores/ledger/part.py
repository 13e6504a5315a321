"""What every part of the ledger shares: the engine, and which rows of a run key are current."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, Table, and_, select

from nightloop.fault import Fault, NightloopError
from nightloop.run import RunKey
from nightloop.stores.database.engine import insert_missing, reading, writing
from nightloop.stores.ledger.schema import attempts

RUN_KEY = ("scope", "as_of", "variant")


class LedgerPart:
    """One subject of the ledger, over the engine of all."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def _append(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows in one transaction; a repeated write of one attempt changes nothing."""
        with writing(self._engine, table.name) as connection:
            insert_missing(connection, table, rows)

    def _fetch(self, query: Any) -> Sequence[RowMapping]:
        with reading(self._engine) as connection:
            return connection.execute(query).mappings().all()

    def _job_of(self, token: int) -> str:
        with reading(self._engine) as connection:
            return job_of(connection, token)


def job_of(connection: Connection, token: int) -> str:
    """Return the job that drew a token.

    Raises:
        NightloopError: nobody drew it from this ledger.
    """
    job = connection.scalar(select(attempts.c.job).where(attempts.c.token == token))
    if job is None:
        remedy = "draw one with `draw_token`; a token of another ledger does not count here"
        raise NightloopError(Fault("token of a ledger write", "a token drawn from this ledger", str(token), remedy))
    return str(job)


def key_of(run_key: RunKey) -> dict[str, Any]:
    return {"scope": run_key.scope, "as_of": run_key.as_of, "variant": run_key.variant}


def nights_within(table: Table, scope: str, first: datetime, last: datetime, variant: str) -> Any:
    """Condition: rows of a scope's nights from first to last, both included."""
    return and_(table.c.scope == scope, table.c.variant == variant, table.c.as_of.between(first, last))
