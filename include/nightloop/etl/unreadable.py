"""Name the files that Spark cannot read: the error of one file among many says neither which nor what to do."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from nightloop.etl.params import ReadParams
from nightloop.etl.read import RawFile, read_files
from nightloop.fault import Fault, NightloopError, is_lost

_READING = ("FAILED_READ_FILE", "Driver stacktrace")  # what a task that fails says
# what ends a task in the same words though no file is to blame: to read them one by one would be in vain
_NOT_THE_FILES = ("No space left on device", "OutOfMemory")


@contextmanager
def naming_unreadable(
    spark: SparkSession, files: Sequence[RawFile], variant: str, params: ReadParams
) -> Iterator[None]:
    """Turn a failure of Spark inside the block into one error that names each unreadable file.

    The files are read again one by one, so only a failure costs time. A failure that no single file explains passes.

    Raises:
        NightloopError: files that cannot be read to their end: cut short, overwritten, or of another format.
    """
    try:
        yield
    except PySparkException as error:
        is_of_a_file = any(mark in str(error) for mark in _READING)
        if not is_of_a_file or is_lost(error) or any(mark in str(error) for mark in _NOT_THE_FILES):
            raise
        broken = {file.path: found for file in files if (found := _why_unreadable(spark, file, variant, params))}
        if not broken:
            raise
        remedy = "send the file again, whole; nothing of this night was published"
        faults = [Fault(f"file {path}", f"{params.format} to its end", found, remedy) for path, found in broken.items()]
        raise NightloopError(faults) from error


def _why_unreadable(spark: SparkSession, file: RawFile, variant: str, params: ReadParams) -> str:
    try:
        read_files(spark, [file], variant, params).write.format("noop").mode("overwrite").save()
    except PySparkException as error:
        if is_lost(error):
            raise
        return str(error).strip().splitlines()[0][:200]
    return ""
