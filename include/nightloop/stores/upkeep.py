"""Upkeep of the lake's tables: small files, unneeded files, leftover staging."""

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nightloop.dataset import DatasetRef
from nightloop.run import parse_night
from nightloop.stores.lake import Lake

if TYPE_CHECKING:
    from nightloop.stores.ledger import Ledger

_ABANDONED_AFTER = timedelta(days=2)
_SETTLED_AFTER = timedelta(hours=6)  # a closed night may be running again


@dataclass(frozen=True, slots=True)
class TableSize:
    """Live files and bytes of one table after its upkeep."""

    files: int
    bytes: int
    is_compacted: bool


def compact_table(lake: Lake, ref: DatasetRef, max_small_files: int) -> TableSize:
    """Merge small files where a partition holds more than `max_small_files`; return what the table holds then."""
    is_compacted = _most_files(lake, ref) > max_small_files
    if is_compacted:
        lake.spark.sql(f"OPTIMIZE delta.`{lake.path(ref)}`").collect()
    detail = lake.spark.sql(f"DESCRIBE DETAIL delta.`{lake.path(ref)}`").head()
    files, size = (detail["numFiles"], detail["sizeInBytes"]) if detail is not None else (0, 0)
    return TableSize(files, size, is_compacted)


def vacuum_table(lake: Lake, ref: DatasetRef, retention_hours: float) -> int:
    """Delete files that left the table longer ago; return 1. Delta refuses less than the table's own retention."""
    lake.spark.sql(f"VACUUM delta.`{lake.path(ref)}` RETAIN {retention_hours:g} HOURS").collect()
    return 1


def drop_stages(lake: Lake, ledger: "Ledger", now: datetime | None = None) -> int:
    """Delete staged frames of runs that closed six hours ago, and those that nobody has touched for two days."""
    abandoned = (now or datetime.now(UTC)) - _ABANDONED_AFTER
    settled = (now or datetime.now(UTC)) - _SETTLED_AFTER
    dropped = 0
    for stage in lake.stages():
        night, _, rest = stage.run.partition("-")
        variant = rest.rpartition("-")[0]
        owner = stage.dataset.split("/")[1]
        touched = datetime.fromtimestamp(stage.path.stat().st_mtime, tz=UTC)
        is_closed = ledger.is_closed(owner, parse_night(night), variant)
        if touched < (settled if is_closed else abandoned):
            shutil.rmtree(stage.path, ignore_errors=True)
            dropped += 1
    return dropped


def drop_owned_stages(lake: Lake, owners: Collection[str]) -> list[str]:
    """Delete every staged frame of these folders; an attempt that still needs one fails and is retried."""
    owned = [stage.path for stage in lake.stages() if stage.dataset.split("/")[1] in owners]
    for path in owned:
        shutil.rmtree(path, ignore_errors=True)
    return [str(path) for path in owned]


def _most_files(lake: Lake, ref: DatasetRef) -> int:
    from deltalake import DeltaTable

    table = DeltaTable(lake.path(ref).replace("s3a://", "s3://"))
    counts: dict[str, int] = {}
    for uri in table.file_uris():
        partition = uri.rpartition("/")[0]
        counts[partition] = counts.get(partition, 0) + 1
    return max(counts.values(), default=0)
