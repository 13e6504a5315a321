"""Who wrote what with which code: attempts, and the Delta versions that they committed."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select

from nightloop.dataset import DatasetRef
from nightloop.run import MAIN_VARIANT, RunKey
from nightloop.stores.database.engine import current_rows
from nightloop.stores.ledger.part import RUN_KEY, LedgerPart, key_of
from nightloop.stores.ledger.rows import AttemptRow, CommitRow, row_as
from nightloop.stores.ledger.schema import attempts, commits


class ProvenanceRecords(LedgerPart):
    """Commits by run key and dataset, and the attempts behind them."""

    def record_commit(self, run_keys: Iterable[RunKey], token: int, ref: DatasetRef, version: int) -> None:
        """Record that an attempt wrote these nights of a table in one version of it."""
        rows = [{**key_of(key), "dataset": str(ref), "token": token, "version": version} for key in run_keys]
        self._append(commits, rows)

    def find_commit(self, run_key: RunKey, ref: DatasetRef) -> CommitRow | None:
        """Return the newest commit of a night to a table; None where none was recorded."""
        conditions = [commits.c[name] == value for name, value in key_of(run_key).items()]
        current = current_rows(commits, (*RUN_KEY, "dataset"), *conditions, commits.c.dataset == str(ref))
        found = self._fetch(current)
        return row_as(CommitRow, found[0]) if found else None

    def find_attempt(self, token: int) -> AttemptRow:
        """Return the attempt that drew a token."""
        return row_as(AttemptRow, self._fetch(select(attempts).where(attempts.c.token == token))[0])

    def last_attempt(self, scope: str, job: str, as_of: datetime, variant: str = MAIN_VARIANT) -> AttemptRow | None:
        """Return the last attempt of a job whose replay ended at a night; None where there is none."""
        mine = attempts.c.scope == scope, attempts.c.variant == variant, attempts.c.job == job
        query = select(attempts).where(*mine, attempts.c.last_as_of == as_of).order_by(attempts.c.token.desc())
        found = self._fetch(query.limit(1))
        return row_as(AttemptRow, found[0]) if found else None
