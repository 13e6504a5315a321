"""A job's Spark work on the warm Connect server, against the same work in a JVM of its own."""

import os
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

from benchmarks.harness import measure_pairs, write_result
from nightloop.engine.server import running_server

WORK = """
import sys
from nightloop.engine.session import open_session
remote, session, path = sys.argv[1:]
with open_session(remote or None, session) as spark:
    frame = spark.range(100_000).selectExpr("id", "cast(id % 7 as string) as night")
    frame.write.format("delta").partitionBy("night").mode("overwrite").save(path)
    spark.read.format("delta").load(path).groupBy("night").count().collect()
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder), memory_mb=1536) as server:

        def write_table(remote: str) -> None:
            # SPARK_REMOTE would send the cold side to a server too
            environment = {name: value for name, value in os.environ.items() if name != "SPARK_REMOTE"}
            arguments = [remote, str(uuid.uuid4()), f"{folder}/{'warm' if remote else 'cold'}"]
            subprocess.run([sys.executable, "-c", WORK, *arguments], env=environment, check=True, capture_output=True)

        pairs = measure_pairs(lambda: write_table(server.remote), lambda: write_table(""))
    write_result(
        "engine",
        ratios={"warm server over one JVM per job": pairs},
        notes="one process writes 100,000 rows in 7 partitions to a Delta table and reads them back, imports included",
    )


if __name__ == "__main__":
    main()
