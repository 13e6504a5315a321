"""A source of orders in a folder of its own, its landed files, and what its jobs leave behind."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from nightloop.dataset import DatasetRef
from nightloop.run import EXIT_OK, JobResult, format_night
from nightloop.stores.ledger.ledger import Ledger
from tests.loop import Loop

NAME = "orders"
FIRST = datetime(2025, 1, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
CLEAN_SQL = "SELECT id, amount, 2 * amount AS doubled, note FROM raw"
NOT_NEGATIVE = "expect_column_values_to_be_between:amount"
NOT_HUGE = "expect_column_values_to_be_between:doubled"


def night(number: int) -> datetime:
    return FIRST + timedelta(days=number)


def between(column: str, severity: str = "quarantine", **limits: float) -> dict[str, Any]:
    kwargs = {"column": column, **limits}
    return {"expect": "expect_column_values_to_be_between", "severity": severity, "kwargs": kwargs}


STRICT = (between("amount", min_value=0), between("doubled", max_value=100))
MENDED = (between("amount", min_value=-10), between("doubled", max_value=100))


@dataclass
class Orders:
    """The source on one state folder, with its jobs."""

    loop: Loop

    @classmethod
    def create(cls, home: Path, remote: str, suite: Sequence[Any] = STRICT, **changes: Any) -> "Orders":
        orders = cls(Loop(home, NAME, remote, (home / "folders",)).migrate())
        orders.write_folder(suite, **changes)
        return orders

    def write_folder(self, suite: Sequence[Any], clean_sql: str = CLEAN_SQL, **changes: Any) -> None:
        folder = self.loop.home / "folders/sources" / NAME
        folder.mkdir(parents=True, exist_ok=True)
        document = {
            "name": NAME,
            "owner": "o",
            "description": "d",
            "schedule": "0 0 * * *",
            "start": "2025-01-01",
            "uri": NAME,
            "format": "csv",
            "columns": {
                "id": {"type": "string", "required": True},
                "amount": {"type": "double"},
                "note": {"type": "string"},
            },
            "keys": ["id"],
            "budget": {"ratio": 1.0},
        }
        (folder / "source.yaml").write_text(yaml.safe_dump(document | changes))
        (folder / "suite.yaml").write_text(yaml.safe_dump({"expectations": list(suite)}))
        (folder / "clean.sql").write_text(clean_sql)

    def land(self, name: str, text: str | bytes, arrived: datetime) -> None:
        path = self.loop.home / "landing" / NAME / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        os.utime(path, (arrived.timestamp(), arrived.timestamp()))

    def run(self, job: str, as_of: datetime, first: datetime | None = None, **options: str) -> JobResult:
        return self.loop.run(job, NAME, "source", as_of, first, **options)

    def night(self, number: int, first: int | None = None) -> JobResult:
        start = None if first is None else night(first)
        self.run("land_source", night(number), start)
        return self.run("clean_source", night(number), start)

    def readmit(self, number: int, **options: str) -> JobResult:
        return self.run("readmit_rows", night(number), None, **options)

    def rows(self, layer: str, number: int | None = None) -> list[dict[str, Any]]:
        """Return the rows of one night in a layer, or all of them."""
        rows = self.loop.rows(DatasetRef(layer, NAME)).to_dict("records")  # type: ignore[arg-type]
        return [row for row in rows if number is None or row["night"] == format_night(night(number))]

    def tables(self) -> dict[str, list[str]]:
        """Return the content of every layer as sorted text."""
        return {layer: sorted(map(str, self.rows(layer))) for layer in ("raw", "clean", "quarantine")}

    def counts(self, number: int) -> dict[str, int]:
        ledger = self.open_ledger()
        (found,) = [row for row in ledger.counts(NAME, night(number), night(number)) if row.job == "clean_source"]
        ledger.close()
        return dict(found.counts)

    def open_ledger(self) -> Ledger:
        return Ledger.open(self.loop.settings.ledger_url)

    def exit_code(self, job: str, number: int, **options: str) -> int:
        """Run a job that may fail and return its exit code."""
        try:
            self.run(job, night(number), None, **options)
        except AssertionError as error:
            return int(str(error).partition("exit code ")[2].split()[0])
        return EXIT_OK


def csv(*rows: str) -> str:
    return "\n".join(["id,amount,note", *rows, ""])
