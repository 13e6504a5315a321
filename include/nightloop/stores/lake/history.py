"""What a Delta table still holds beside its newest version, and how to be rid of it.

Only an erasure comes here: it deletes rows by a commit of its own, then every file and log entry that the newest
version does not need. Fencing survives, for the checkpoint that stays carries every transaction's token.
"""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from pyarrow import fs
from pyspark.errors import PySparkException

from nightloop.dataset import DatasetRef
from nightloop.fault import TransientError
from nightloop.stores.lake.commit import CONFLICT
from nightloop.stores.lake.lake import Lake
from nightloop.stores.lake.schema import PARTITION_COLUMNS

_LOG = "_delta_log"
_VERSION_DIGITS = 20
_VIEW = "nightloop_erased_rows"


@dataclass(frozen=True, slots=True)
class DataFile:
    """One Parquet file below a table, whether or not a version still names it."""

    path: str
    night: str
    variant: str
    written_wall: datetime
    is_live: bool


class LakeHistory:
    """The files of one lake, a local folder or an object store, seen below Delta."""

    def __init__(self, root: str) -> None:
        address = root.replace("s3a://", "s3://") if "://" in root else str(Path(root).resolve())
        self._files: fs.FileSystem
        self._root: str
        self._files, self._root = (
            fs.FileSystem.from_uri(address) if "://" in address else (fs.LocalFileSystem(), address)
        )
        self._address = address

    def tables(self) -> list[DatasetRef]:
        """Return every table of the lake, by path."""
        logs = {posixpath.dirname(entry.path) for entry in self._list("") if f"/{_LOG}/" in entry.path}
        folders = sorted(posixpath.relpath(posixpath.dirname(log), self._root) for log in logs if log.endswith(_LOG))
        parts = [folder.split("/") for folder in folders]
        return [DatasetRef(layer, owner, "/".join(version)) for layer, owner, *version in parts]  # type: ignore[arg-type]

    def version(self, ref: DatasetRef) -> int:
        return DeltaTable(f"{self._address}/{ref.path}").version()

    def data_files(self, ref: DatasetRef) -> list[DataFile]:
        """List every Parquet file of a table: those of its newest version, of older ones, and of no version at all."""
        listed = self._list(ref.path)  # before the version is read: what a commit adds meanwhile is live, or not listed
        live = {posixpath.basename(uri) for uri in DeltaTable(f"{self._address}/{ref.path}").file_uris()}
        found = []
        for entry in listed:
            inside = entry.path.removeprefix(f"{self._root}/{ref.path}/")
            if inside.startswith(_LOG) or not inside.endswith(".parquet"):
                continue
            partition = dict(part.split("=", 1) for part in inside.split("/")[:-1] if "=" in part)
            night, variant = (unquote(partition.get(name, "")) for name in PARTITION_COLUMNS)
            # a file of unknown age counts as young and stays: a commit may be about to name it
            written = entry.mtime or datetime.now(UTC)
            found.append(DataFile(entry.path, night, variant, written, posixpath.basename(inside) in live))
        return found

    def read(self, file: DataFile, columns: Sequence[str] | None = None) -> pa.Table:
        """Return those of the columns that a file has, or all."""
        with self._files.open_input_file(file.path) as stream:
            parquet = pq.ParquetFile(stream)
            return parquet.read(
                columns=[name for name in parquet.schema_arrow.names if columns is None or name in columns]
            )

    def checkpoint(self, ref: DatasetRef) -> int:
        """Write down the newest version on its own, so that it needs no log entry before it; return its number."""
        table = DeltaTable(f"{self._address}/{ref.path}")
        table.create_checkpoint()
        return table.version()

    def list_history(
        self, ref: DatasetRef, checkpointed: int, abandoned: datetime
    ) -> tuple[list[DataFile], list[DataFile], list[str]]:
        """Return what the newest version does not need: data files, young ones, and log entries before a checkpoint.

        Young are those that no version ever named and that were written after `abandoned`: an attempt may be about to
        commit them.
        """
        named = self._named(ref)  # before the files are listed: what is committed meanwhile counts as young, or is live
        dead = [file for file in self.data_files(ref) if not file.is_live]
        young = [one for one in dead if one.written_wall > abandoned and posixpath.basename(one.path) not in named]
        logs = [
            entry.path
            for entry in self._list(f"{ref.path}/{_LOG}")
            if (version := _version_of(entry.path)) is not None and version < checkpointed
        ]
        return [file for file in dead if file not in young], young, sorted(logs)

    def remove(self, paths: Sequence[str]) -> None:
        """Delete files and the checksums that Hadoop keeps beside them; one that is gone is no fault."""
        for path in paths:
            folder, name = posixpath.split(path)
            for one in (path, f"{folder}/.{name}.crc"):
                if self._files.get_file_info(one).type != fs.FileType.NotFound:
                    self._files.delete_file(one)

    def _named(self, ref: DatasetRef) -> set[str]:
        """Return the names of all data files that the log's entries add or remove."""
        names: set[str] = set()
        for entry in self._list(f"{ref.path}/{_LOG}"):
            if entry.path.endswith(".json"):
                with self._files.open_input_file(entry.path) as stream:
                    text = stream.read().decode()
                names.update(part.split('"', 1)[0].rpartition("/")[2] for part in text.split('"path":"')[1:])
            elif entry.path.endswith(".parquet"):
                with self._files.open_input_file(entry.path) as stream:
                    actions = pq.read_table(stream, columns=["add", "remove"])
                for kind in ("add", "remove"):
                    names.update(posixpath.basename(one["path"]) for one in actions.column(kind).to_pylist() if one)
        return names

    def _list(self, below: str) -> list[fs.FileInfo]:
        top = f"{self._root}/{below}".rstrip("/")
        found = self._files.get_file_info(fs.FileSelector(top, recursive=True, allow_not_found=True))
        return [entry for entry in found if entry.type == fs.FileType.File]


def delete_rows(lake: Lake, ref: DatasetRef, keys: Mapping[str, Sequence[str]]) -> int:
    """Delete the rows with these keys in one Delta commit and return its version; the commit names no value.

    `keys` holds one list per key column, all of one length; every column is compared as text.

    Raises:
        TransientError: another run changed the table meanwhile.
    """
    rows = list(zip(*keys.values(), strict=True))
    schema = ", ".join(f"`{name}` string" for name in keys)
    lake.spark.createDataFrame(rows, schema).createOrReplaceTempView(_VIEW)
    same = " AND ".join(f"CAST(kept.`{name}` AS STRING) = gone.`{name}`" for name in keys)
    try:
        lake.spark.sql(
            f"MERGE INTO delta.`{lake.path(ref)}` AS kept USING {_VIEW} AS gone ON {same} WHEN MATCHED THEN DELETE"
        ).collect()
    except PySparkException as error:
        if any(mark in str(error) for mark in CONFLICT):
            raise TransientError(f"another run changed {ref} while rows of it were erased") from error
        raise
    finally:
        lake.spark.catalog.dropTempView(_VIEW)
    return LakeHistory(lake.root).version(ref)


def abandoned_since(settle_minutes: float) -> datetime:
    """Return the instant before which an uncommitted file counts as left behind by an attempt that died."""
    return datetime.now(UTC) - timedelta(minutes=settle_minutes)


def _version_of(path: str) -> int | None:
    """Return the version that a file of the log belongs to; None where it belongs to none (`_last_checkpoint`)."""
    digits = posixpath.basename(path).lstrip(".")[:_VERSION_DIGITS]
    return int(digits) if len(digits) == _VERSION_DIGITS and digits.isdecimal() else None
