"""Read the lake without Spark, by delta-rs and Arrow: for jobs that only stream rows to somewhere else."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.dataset
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from nightloop.dataset import DatasetRef
from nightloop.fault import Fault, NightloopError
from nightloop.run import Replay, format_night

BATCH_ROWS = 65_536


class LakeRows:
    """Rows of some nights of one table, all of one version."""

    def __init__(self, dataset: "pyarrow.dataset.Dataset", condition: "pyarrow.dataset.Expression") -> None:
        self._dataset = dataset
        self._condition = condition

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self._dataset.schema.names)

    def where(self, condition: "pyarrow.dataset.Expression") -> Self:
        """Return those of the rows for which a condition holds."""
        return type(self)(self._dataset, self._condition & condition)

    def count(self) -> int:
        return int(self._dataset.count_rows(filter=self._condition))

    def stream(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows batch by batch; memory does not grow with them."""
        yield from self._dataset.to_batches(columns=list(columns), filter=self._condition, batch_size=BATCH_ROWS)


class LakeFiles:
    """The lake below one root, a path or an address of an object store."""

    def __init__(self, root: str) -> None:
        self._root = root.replace("s3a://", "s3://")  # as delta-rs writes it
        self.reads: dict[DatasetRef, int] = {}  # what `open` has pinned, for whoever asks what a job read

    def list_files(self) -> Iterator[tuple[str, int]]:
        """Yield every file below the root, data and logs and staging: its path below the root, and its bytes."""
        if "://" not in self._root:
            top = Path(self._root)
            for folder, _, names in os.walk(top):
                for path in (Path(folder, name) for name in names):
                    yield path.relative_to(top).as_posix(), path.stat().st_size
            return
        import boto3

        bucket, _, prefix = self._root.partition("://")[2].partition("/")
        for found in boto3.resource("s3").Bucket(bucket).objects.filter(Prefix=f"{prefix}/"):
            yield found.key.removeprefix(f"{prefix}/"), found.size

    def tables(self) -> list[DatasetRef]:
        """List every table that has been created."""
        logs = {path.partition("/_delta_log/")[0] for path, _ in self.list_files() if "/_delta_log/" in path}
        parts = [path.split("/", 2) for path in sorted(logs) if not path.startswith("staging/")]
        return [DatasetRef(*named) for named in parts]  # type: ignore[arg-type]

    def table(self, ref: DatasetRef) -> DeltaTable:
        """Return the newest version of a table.

        Raises:
            TableNotFoundError: there is no such table.
        """
        return DeltaTable(f"{self._root}/{ref.path}")

    def nights(self, ref: DatasetRef, variant: str) -> set[str]:
        """Return the nights for which a table holds rows; none where there is no such table."""
        try:
            partitions = self.table(ref).partitions()
        except TableNotFoundError:
            return set()
        return {str(partition["night"]) for partition in partitions if partition["variant"] == variant}

    def least(self, ref: DatasetRef, column: str, variant: str) -> dict[str, Any]:
        """Return the least value of a column in each night of a table, from its log alone; none where it tells none."""
        try:
            actions = pa.table(self.table(ref).get_add_actions(flatten=True))
        except TableNotFoundError:
            return {}
        found: dict[str, Any] = {}
        names = ("partition.night", "partition.variant", f"min.{column}")
        for night, of, value in zip(*(actions.column(name).to_pylist() for name in names), strict=True):
            if of == variant and value is not None:
                found[night] = min(value, found.get(night, value))
        return found

    def open(self, ref: DatasetRef, replay: Replay) -> LakeRows:
        """Pin the newest version of a table and return its rows of the replay's nights.

        Raises:
            NightloopError: there is no such table.
        """
        try:
            table = self.table(ref)
        except TableNotFoundError:
            remedy = "run the job that writes it first"
            raise NightloopError(Fault(f"lake table {ref}", "a Delta table", "none", remedy)) from None
        self.reads[ref] = table.version()
        partition = pyarrow.dataset.field
        nights = [format_night(night) for night in replay.nights]
        condition = partition("night").isin(nights) & (partition("variant") == replay.variant)
        return LakeRows(table.to_pyarrow_dataset(), condition)
