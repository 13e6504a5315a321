"""Run a job whose write to the lake lasts a minute: what a test kills and must find ended on the server.

Its write touches the file `<home>/writing` when it has begun and `<home>/written` when its minute is over.
"""

import importlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame

from nightloop.settings import Settings
from nightloop.stores.lake.lake import Lake

SECONDS = 60


def main(job: str, *argv: str) -> int:
    home = Settings.from_environment().home
    begun, ended, seconds = home / "writing", home / "written", SECONDS
    write = Lake._overwrite  # all writes pass there

    def dawdle(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        Path(begun).touch()
        time.sleep(seconds)
        Path(ended).touch()
        yield from batches

    def write_slowly(lake: Lake, frame: DataFrame, *arguments: Any, **options: Any) -> None:
        write(lake, frame.mapInArrow(dawdle, frame.schema), *arguments, **options)

    Lake._overwrite = write_slowly  # type: ignore[method-assign,assignment]
    return int(importlib.import_module(f"jobs.{job}").main(argv))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
