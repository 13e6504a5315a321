"""The class data archive of the embedded server: `python -m nightloop.engine.class_archive <file>` makes it.

Half of the CPU time from a server's start to its first commit goes into loading and verifying Spark's classes. The Java
machine maps them from the archive instead, if it was made by the same machine from the same jars, and does without it
otherwise.
"""

import os
import sys
import tempfile
import uuid
from pathlib import Path

from nightloop.engine.server import JAVA_OPTIONS_VARIABLE, SMALL_NIGHTS, running_server
from nightloop.engine.session import open_session

_DUMP_SECONDS = 300


def make_archive(file: Path) -> None:
    """Run a server through what jobs ask of it, and keep the classes that it has loaded by then."""
    file.unlink(missing_ok=True)  # a Java machine that maps an archive makes none
    partial = file.with_suffix(".partial")
    options = f"{SMALL_NIGHTS[JAVA_OPTIONS_VARIABLE]} -XX:ArchiveClassesAtExit={partial}"
    os.environ.update({**SMALL_NIGHTS, JAVA_OPTIONS_VARIABLE: options})
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(Path(folder), stop_seconds=_DUMP_SECONDS) as server,
    ):
        _work(server.remote, f"{folder}/table")
    partial.replace(file)


def _work(remote: str, path: str) -> None:
    """Publish, merge and read a small table, as jobs do."""
    with open_session(remote, str(uuid.uuid4())) as spark:
        rows = spark.range(100).selectExpr("id", "id % 7 AS entity", "'a' AS night", "'main' AS variant")
        for condition in ("night = 'a'", "night IN ('a') AND variant = 'main'"):
            writer = rows.write.format("delta").mode("overwrite").partitionBy("night", "variant")
            writer.option("replaceWhere", condition).save(path)
        gone = "(SELECT 3 AS id) gone ON stored.id = gone.id WHEN MATCHED THEN DELETE"
        spark.sql(f"MERGE INTO delta.`{path}` stored USING {gone}")
        spark.read.format("delta").load(path).createOrReplaceTempView("stored")
        counted = "SELECT l.entity, count(*) AS n FROM stored l JOIN stored r USING (id) GROUP BY l.entity"
        spark.sql(counted).toPandas()


if __name__ == "__main__":
    make_archive(Path(sys.argv[1]))
