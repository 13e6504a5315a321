"""Upkeep of the lake's tables: small files, unneeded files and tables, expired nights, leftover staging."""

import shutil
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nightloop.dataset import DatasetRef
from nightloop.run import format_night, parse_night
from nightloop.stores.lake.files import LakeFiles
from nightloop.stores.lake.lake import Lake

if TYPE_CHECKING:
    from nightloop.stores.ledger.ledger import Ledger

_ABANDONED_AFTER = timedelta(days=2)
_OBEY_RETAIN = "spark.databricks.delta.vacuum.retentionWindowIgnore.enabled"  # else `RETAIN … HOURS` has no effect
_SETTLED_AFTER = timedelta(hours=6)  # a closed night may be running again


class Upkeep:
    """One round of upkeep. `counts` say what was done, `failures` what Delta refused of one table, with its words.

    An older version of a table can be read for `retention_hours` after it was replaced.
    """

    def __init__(self, lake: Lake, retention_hours: float) -> None:
        self._lake = lake
        self._files = LakeFiles(lake.root)
        self._retention_hours = retention_hours
        lake.spark.conf.set(_OBEY_RETAIN, "false")
        names = ("stages_dropped", "versions_dropped", "nights_dropped", "nights_compacted", "vacuumed")
        self.counts: Counter[str] = Counter(dict.fromkeys(names, 0))
        self.failures: dict[str, str] = {}

    def compact_table(self, ref: DatasetRef, max_small_files: int) -> None:
        """Merge the files of each night that holds more than `max_small_files`.

        The other nights stay out of the transaction, so that it does not meet the run that publishes one of them.
        """
        with self._reporting(ref):
            per_partition = Counter(uri.rpartition("/")[0] for uri in self._files.table(ref).file_uris())
            crowded = sorted({_night_of(path) for path, files in per_partition.items() if files > max_small_files})
            if crowded:
                nights = ", ".join(f"'{night}'" for night in crowded)
                self._run(f"OPTIMIZE delta.`{self._lake.path(ref)}` WHERE night IN ({nights})")
                self.counts["nights_compacted"] += len(crowded)

    def vacuum_table(self, ref: DatasetRef) -> None:
        """Delete files that left the table before the retention. Delta refuses less than the table's own, a week."""
        with self._reporting(ref):
            self._run(f"VACUUM delta.`{self._lake.path(ref)}` RETAIN {self._retention_hours:g} HOURS")
            self.counts["vacuumed"] += 1

    def list_nights(self, ref: DatasetRef, before: datetime) -> list[str]:
        """Return the nights before an instant for which a table holds rows, of whatever variant."""
        partitions = self._files.table(ref).partitions()
        return sorted({partition["night"] for partition in partitions if partition["night"] < format_night(before)})

    def drop_nights(self, ref: DatasetRef, before: datetime) -> None:
        """Delete the rows of all nights before an instant, in one commit."""
        with self._reporting(ref):
            expired, condition = self.list_nights(ref, before), f"night < '{format_night(before)}'"
            self._run(f"DELETE FROM delta.`{self._lake.path(ref)}` WHERE {condition}")  # noqa: S608 - both are ours
            self.counts["nights_dropped"] += len(expired)

    def drop_table(self, ref: DatasetRef) -> None:
        """Delete a table that nobody has written within the retention; a run may still work on a younger one."""
        last_commit = self._files.table(ref).history(1)[0]["timestamp"] / 1000
        if last_commit < (datetime.now(UTC) - timedelta(hours=self._retention_hours)).timestamp():
            self._lake.drop(ref)
            self.counts["versions_dropped"] += 1

    def drop_stages(self, ledger: "Ledger", now: datetime | None = None) -> None:
        """Delete staged frames of runs that closed six hours ago, and those that nobody has touched for two days."""
        abandoned = (now or datetime.now(UTC)) - _ABANDONED_AFTER
        settled = (now or datetime.now(UTC)) - _SETTLED_AFTER
        for stage in self._lake.stages():
            night, _, rest = stage.run.partition("-")
            variant = rest.rpartition("-")[0]
            owner = stage.dataset.split("/")[1]
            touched = datetime.fromtimestamp(stage.path.stat().st_mtime, tz=UTC)
            is_closed = ledger.is_closed(owner, parse_night(night), variant)
            if touched < (settled if is_closed else abandoned):
                shutil.rmtree(stage.path, ignore_errors=True)
                self.counts["stages_dropped"] += 1

    def _run(self, statement: str) -> None:
        self._lake.spark.sql(statement).collect()

    @contextmanager
    def _reporting(self, ref: DatasetRef) -> Iterator[None]:
        try:
            yield
        except self._lake.failures as error:
            # a lost session or a fault of ours, which the next table would meet as well
            if "DELTA_" not in str(error):
                raise
            self.failures[f"failed:{ref}"] = " ".join(str(error).split())[:300]


def drop_owned_stages(lake: Lake, owners: Collection[str]) -> list[str]:
    """Delete every staged frame of these folders; an attempt that still needs one fails and is retried."""
    owned = [stage.path for stage in lake.stages() if stage.dataset.split("/")[1] in owners]
    for path in owned:
        shutil.rmtree(path, ignore_errors=True)
    return [str(path) for path in owned]


def _night_of(partition: str) -> str:
    return next(part.removeprefix("night=") for part in partition.split("/") if part.startswith("night="))
