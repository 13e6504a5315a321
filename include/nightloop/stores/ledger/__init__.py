"""The ledger: runs, tokens, files, maturity, profiles, verdicts, champions and audit as rows of one SQL schema.

It decides. Airflow's asset events, MLflow's aliases and Delta's versions are wake-ups, projections and caches of it.
"""

from typing import Self

from nightloop.stores.database import open_engine
from nightloop.stores.ledger.attempts import AttemptRecords
from nightloop.stores.ledger.files import FileRecords
from nightloop.stores.ledger.models import ModelRecords
from nightloop.stores.ledger.monitoring import MonitoringRecords
from nightloop.stores.ledger.readmissions import ReadmissionRecords
from nightloop.stores.ledger.rows import (
    AnswerRow,
    AuditRow,
    ChampionRow,
    CheckRow,
    CountsRow,
    FileRow,
    MaturityRow,
    MetricRow,
    ModelRow,
    ProfileRow,
    ReadmissionRow,
    VerdictRow,
)
from nightloop.stores.ledger.verdicts import VerdictRecords
from nightloop.stores.ledger_schema import LEDGER
from nightloop.stores.migrations import migrate_store

__all__ = [
    "AnswerRow",
    "AuditRow",
    "ChampionRow",
    "CheckRow",
    "CountsRow",
    "FileRow",
    "Ledger",
    "MaturityRow",
    "MetricRow",
    "ModelRow",
    "ProfileRow",
    "ReadmissionRow",
    "VerdictRow",
    "migrate",
]


class Ledger(AttemptRecords, FileRecords, ReadmissionRecords, MonitoringRecords, VerdictRecords, ModelRecords):
    """All parts of the ledger over one database. Rows are appended, never changed."""

    @classmethod
    def open(cls, url: str) -> Self:
        """Open a migrated ledger.

        Raises:
            NightloopError: the database is missing or has another revision than this code expects.
        """
        return cls(open_engine(url, LEDGER))

    def close(self) -> None:
        self._engine.dispose()


def migrate(url: str) -> None:
    """Bring a ledger to the revision of this code, from nothing if need be; safe to run twice."""
    migrate_store(url, LEDGER)
