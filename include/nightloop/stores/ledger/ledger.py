"""The ledger: runs, tokens, files, maturity, profiles, verdicts, champions and audit as rows of one SQL schema.

It decides. Airflow's asset events, MLflow's aliases and Delta's versions are wake-ups, projections and caches of it.
"""

import re
from typing import Self

from nightloop.stores.database.engine import open_engine
from nightloop.stores.database.migrations import migrate_store
from nightloop.stores.database.row_erasure import purge_deleted_rows, redact_texts
from nightloop.stores.ledger.attempts import AttemptRecords
from nightloop.stores.ledger.audit import AuditRecords
from nightloop.stores.ledger.definitions import DefinitionRecords
from nightloop.stores.ledger.files import FileRecords
from nightloop.stores.ledger.models import ModelRecords
from nightloop.stores.ledger.monitoring import MonitoringRecords
from nightloop.stores.ledger.provenance import ProvenanceRecords
from nightloop.stores.ledger.readmissions import ReadmissionRecords
from nightloop.stores.ledger.schema import LEDGER
from nightloop.stores.ledger.verdicts import VerdictRecords


class Ledger(
    AttemptRecords,
    FileRecords,
    DefinitionRecords,
    MonitoringRecords,
    VerdictRecords,
    ModelRecords,
    AuditRecords,
    ProvenanceRecords,
    ReadmissionRecords,
):
    """All parts of the ledger over one database. Rows are appended, never changed, but by an erasure."""

    @classmethod
    def open(cls, url: str) -> Self:
        """Open a migrated ledger.

        Raises:
            NightloopError: the database is missing or has another revision than this code expects.
        """
        return cls(open_engine(url, LEDGER))

    def redact(self, traces: "re.Pattern[bytes]") -> dict[str, int]:
        """Replace a subject's identifiers within texts, for an erasure only; return the rows changed by table."""
        return redact_texts(self._engine, LEDGER, traces)

    def purge_deleted_rows(self) -> None:
        """Have the database give up what it still holds of rows that an erasure changed."""
        purge_deleted_rows(self._engine, LEDGER)

    def close(self) -> None:
        self._engine.dispose()


def migrate(url: str) -> None:
    """Bring a ledger to the revision of this code, from nothing if need be; safe to run twice."""
    migrate_store(url, LEDGER)
