"""The Spark configuration of the local profile; every entry that is not self-evident carries its reason."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from nightloop.fault import Fault, NightloopError
from nightloop.settings import CHECKOUT

CONF_VARIABLE = "NIGHTLOOP_SPARK_CONF"


def find_jars() -> tuple[Path, ...]:
    """Return the Delta jars: of `NIGHTLOOP_JARS`, or those that set-up fetched into the checkout."""
    folder = Path(os.environ.get("NIGHTLOOP_JARS") or CHECKOUT / ".cache" / "jars")
    return tuple(sorted(folder.glob("*.jar")))


def session_conf() -> Mapping[str, str]:
    """Return what every session states, so that a job computes the same on any server."""
    return {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.databricks.delta.snapshotPartitions": "2",  # the default, 50, dominates small tables
        "spark.databricks.delta.properties.defaults.checkpointInterval": "30",  # a checkpoint costs a small night 2 s
    }


def spark_conf(*, is_submitted: bool = False) -> Mapping[str, str]:
    """Return the configuration of an application; under `spark-submit` its jars are the submitter's affair."""
    conf = {
        **session_conf(),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "50000",  # ONNX Runtime scores four times as fast as at 10,000
        "spark.hadoop.parquet.dictionary.page.size": "65536",  # numbers fill the 1 MiB of the default in vain
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",  # the default makes a vacuum take 20 s
    }
    if not is_submitted:
        cores = str(len(os.sched_getaffinity(0)))
        conf["spark.sql.shuffle.partitions"] = cores
        # joins of large nights hash what fits, which saves sorting it; cut finely, more of it fits
        conf["spark.sql.adaptive.coalescePartitions.initialPartitionNum"] = "16"
        conf["spark.sql.adaptive.maxShuffledHashJoinLocalMapThreshold"] = "64m"
        conf["spark.jars"] = ",".join(str(jar) for jar in find_jars())
        conf["spark.ui.enabled"] = "false"
        conf |= stated_conf()
    return conf


def stated_conf() -> Mapping[str, str]:
    """Return the entries that `NIGHTLOOP_SPARK_CONF` adds to the local profile: `key=value`, apart by blanks.

    Raises:
        NightloopError: an entry is no `key=value`.
    """
    entries = shlex.split(os.environ.get(CONF_VARIABLE, ""))
    if wrong := [entry for entry in entries if not entry.startswith("spark.") or "=" not in entry]:
        raise NightloopError(Fault(CONF_VARIABLE, "spark.<key>=<value>, apart by blanks", ", ".join(wrong)))
    return dict(entry.split("=", 1) for entry in entries)
