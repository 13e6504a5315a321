"""The Delta lake: every table is partitioned by night and variant, and every write replaces exactly its own nights."""

import hashlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, StructType

from nightloop.dataset import DatasetRef
from nightloop.fault import Fault, NightloopError
from nightloop.run import MAIN_VARIANT, Replay, format_night
from nightloop.stores.lake.commit import (
    Commit,
    check_rows,
    conflicts_are_transient,
    describe_commit,
    find_own_version,
    partition_condition,
    transaction_id,
)
from nightloop.stores.lake.files import LakeFiles
from nightloop.stores.lake.schema import PARTITION_COLUMNS, checked_order, nullable, wider_types
from nightloop.stores.lake.writer import claim_lake

log = logging.getLogger("nightloop.lake")

_ONE_FILE_ROWS = 200_000  # so many are written by one task, one file a night, without the shuffle of optimizeWrite


@dataclass(frozen=True, slots=True)
class Stage:
    """One staged frame that still lies in the lake: the dataset, run key and token it was written for."""

    dataset: str
    run: str
    token: int
    path: Path


class Lake:
    """Delta tables below one root, a local folder or an `s3a://` address.

    `failures`: what Spark and Delta raise when an operation on one table fails. `reads` and `commits`: the versions of
    the tables that this lake was asked to read, and what it has published.
    """

    failures = (PySparkException,)

    def __init__(self, spark: SparkSession, root: str) -> None:
        self.spark = spark
        self.root = root.rstrip("/")
        self.reads: dict[DatasetRef, int] = {}
        self.commits: list[Commit] = []
        self._is_claimed = False  # once is enough: the session stays with its driver, and the lake with a living one

    @property
    def is_local(self) -> bool:
        return "://" not in self.root

    def path(self, ref: DatasetRef) -> str:
        return f"{self.root}/{ref.path}"

    def exists(self, ref: DatasetRef) -> bool:
        """Tell whether the table has been created."""
        if self.is_local:
            # asked before every read and write: a look at the folder costs no round trip to Spark
            return any(Path(self.path(ref), "_delta_log").glob("*.json"))
        try:
            _ = self.spark.read.format("delta").load(self.path(ref)).schema
        except PySparkException as error:
            if "DELTA_TABLE_NOT_FOUND" in str(error) or "PATH_NOT_FOUND" in str(error):
                return False
            raise
        return True

    def read(
        self,
        ref: DatasetRef,
        variant: str = MAIN_VARIANT,
        first: datetime | None = None,
        last: datetime | None = None,
    ) -> DataFrame:
        """Return the rows of the nights in [first, last]; only their partitions are read.

        Raises:
            NightloopError: the table does not exist.
        """
        if not self.exists(ref):
            raise NightloopError(
                Fault(f"lake table {ref}", "a published table", "none", "run the nights that write it first")
            )
        self.reads[ref] = LakeFiles(self.root).table(ref).version()
        rows = self.spark.read.format("delta").load(self.path(ref)).where(F.col("variant") == variant)
        if first is not None:
            rows = rows.where(F.col("night") >= format_night(first))
        if last is not None:
            rows = rows.where(F.col("night") <= format_night(last))
        return rows

    def read_or_none(self, ref: DatasetRef, variant: str, nights: Sequence[datetime]) -> DataFrame | None:
        """Return the rows of exactly these nights; None where the table does not exist."""
        if not self.exists(ref):
            return None
        return self.read(ref, variant).where(F.col("night").isin([format_night(night) for night in nights]))

    def holds(self, ref: DatasetRef, replay: Replay) -> bool:
        """Tell whether the table has rows for a night of the replay."""
        stored = LakeFiles(self.root).nights(ref, replay.variant)
        return any(format_night(night) in stored for night in replay.nights)

    def stage(self, frame: DataFrame, ref: DatasetRef, replay: Replay, token: int) -> DataFrame:
        """Write the frame beside the tables and return it read back: it is computed once, whatever is asked of it."""
        self.claim()
        # a folder per token: what a zombie still writes cannot mix with the rows of the attempt that counts
        path = self._stage_path(ref, replay, token)
        frame.write.mode("overwrite").parquet(path)
        # with its schema stated Spark opens no file to learn it
        return self.spark.read.schema(nullable(frame.schema)).parquet(path)

    def drop_stage(self, ref: DatasetRef, replay: Replay, token: int) -> None:
        """Remove what `stage` wrote; harmless when there is nothing."""
        self._remove(self._stage_path(ref, replay, token))

    def claim(self) -> None:
        """Be the writer of the lake; of a local one there is one at a time.

        Raises:
            NightloopError: another Spark driver writes it.
        """
        if self.is_local and not self._is_claimed:
            claim_lake(self.spark, Path(self.root))
        self._is_claimed = True

    def publish(
        self,
        frame: DataFrame,
        ref: DatasetRef,
        replay: Replay,
        token: int,
        *,
        expected: int | None = None,
        is_counted: bool = False,
        may_add_columns: bool = False,
        may_widen: bool = False,
    ) -> Commit:
        """Replace the replay's nights of one table in one Delta commit.

        The frame holds `night` and `variant`. Its schema must be the table's, name by name and type by type, where
        there is a table; `may_add_columns` lets it gain columns, `may_widen` lets an int column become bigint or double
        in all nights. The frame must hold exactly `expected` rows, or at least one where that is not given. It is
        counted first, a Spark job of its own, unless `is_counted` says that the caller has done so: pass a staged
        frame, or one that is cheap to compute twice.

        Raises:
            NightloopError: the schema differs, or there are fewer rows than expected (an empty frame would delete the
                nights), or more; another Spark driver writes this lake.
            FencedError: a newer attempt has committed these nights; this attempt's write did not count.
        """
        self.claim()
        stored = self._schema(ref)
        wider = wider_types(frame.schema, stored) if may_widen else {}
        fields = checked_order(frame.schema, stored, ref, wider, may_add_columns=may_add_columns)
        rows = expected if is_counted and expected is not None else frame.count()
        check_rows(rows, expected, f"publishing {ref} for {replay.run_key}")
        ordered, is_small = frame.select(*fields), rows <= _ONE_FILE_ROWS
        # two nights that both create the table would conflict; two that replace their own nights of it do not
        self._create(ref, ordered)
        # a commit of its own, before the nights are replaced: a kill in between leaves the old rows, only wider
        if wider:
            self._widen(ref, replay, wider)
        self._overwrite(ordered, ref, replay, token, is_small=is_small, may_add_columns=may_add_columns)
        version = find_own_version(LakeFiles(self.root), ref, replay, token)
        self.commits.append(Commit(ref, version, rows, replay.run_keys))
        return self.commits[-1]

    def content_hash(self, ref: DatasetRef, nights: Sequence[datetime], variant: str = MAIN_VARIANT) -> str:
        """Return a digest of the nights' rows that no order of rows, files or columns changes; `*_wall` is left out."""
        rows = self.read_or_none(ref, variant, nights)
        if rows is None:
            return ""
        columns = sorted(column for column in rows.columns if not column.endswith("_wall"))
        document = F.to_json(F.struct(*columns), {"ignoreNullFields": "false"})
        # 60 bits a row, summed in 38 digits: their order does not matter, and no number of rows overflows
        digits = F.conv(F.substring(F.sha2(document, 256), 1, 15), 16, 10).cast("decimal(38,0)")
        total = rows.select(digits.alias("digits")).agg(F.sum("digits").alias("sum"), F.count("*").alias("rows")).head()
        text = f"{columns} {total['rows']} {total['sum']}" if total is not None else ""
        return hashlib.sha256(text.encode()).hexdigest()

    def stages(self) -> list[Stage]:
        """List what lies in the staging area (local lakes only)."""
        top = Path(self.root, "staging")
        found = sorted(top.glob("**/token=*")) if self.is_local else []
        return [
            Stage(str(path.parent.parent.relative_to(top)), path.parent.name, int(path.name.partition("=")[2]), path)
            for path in found
        ]

    def tables(self) -> list[DatasetRef]:
        """List every table of the lake."""
        return LakeFiles(self.root).tables()

    def drop(self, ref: DatasetRef) -> None:
        """Delete a table with all its versions; harmless when there is none."""
        self._remove(self.path(ref))

    def _schema(self, ref: DatasetRef) -> StructType | None:
        return self.spark.read.format("delta").load(self.path(ref)).schema if self.exists(ref) else None

    def _create(self, ref: DatasetRef, frame: DataFrame) -> None:
        """Create the table empty; of two attempts that race, one creates and the other finds it created."""
        if self.exists(ref):
            return
        try:
            empty = frame.limit(0)
            empty.write.format("delta").mode("ignore").partitionBy(*PARTITION_COLUMNS).save(self.path(ref))
        except PySparkException:
            if not self.exists(ref):
                raise

    def _widen(self, ref: DatasetRef, replay: Replay, wider: Mapping[str, DataType]) -> None:
        """Write the table anew with wider columns: every reader of Delta understands it, unlike the table feature."""
        rows = self.spark.read.format("delta").load(self.path(ref))
        widened = rows.withColumns({name: F.col(name).cast(dtype) for name, dtype in wider.items()})
        writer = widened.write.format("delta").mode("overwrite").partitionBy(*PARTITION_COLUMNS)
        log.info("%s: widening %s", ref, ", ".join(wider))
        with conflicts_are_transient(ref, replay):
            writer.option("overwriteSchema", "true").save(self.path(ref))

    def _overwrite(
        self, frame: DataFrame, ref: DatasetRef, replay: Replay, token: int, *, is_small: bool, may_add_columns: bool
    ) -> None:
        rows = frame.coalesce(1) if is_small else frame
        writer = rows.write.format("delta").mode("overwrite").partitionBy(*PARTITION_COLUMNS)
        options = {
            "replaceWhere": partition_condition(replay),
            "txnAppId": transaction_id(ref, replay),
            "txnVersion": str(token),
            "userMetadata": describe_commit(replay, token),
            "optimizeWrite": str(not is_small).lower(),
            "mergeSchema": str(may_add_columns).lower(),
        }
        with conflicts_are_transient(ref, replay):
            writer.options(**options).save(self.path(ref))

    def _stage_path(self, ref: DatasetRef, replay: Replay, token: int) -> str:
        run = f"{replay.run_key.night}-{replay.variant}-{len(replay.nights)}"
        return f"{self.root}/staging/{ref.path}/{run}/token={token}"

    def _remove(self, path: str) -> None:
        if self.is_local:
            shutil.rmtree(path, ignore_errors=True)
            return
        import boto3

        bucket, _, prefix = path.partition("://")[2].partition("/")
        boto3.resource("s3").Bucket(bucket).objects.filter(Prefix=f"{prefix}/").delete()
