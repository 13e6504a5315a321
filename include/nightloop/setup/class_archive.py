"""Have the Spark server leave its classes where the next one maps them. Standard library only."""

import subprocess
import sys
import time

from nightloop.setup import horovod, jars, system
from nightloop.setup.step import CACHE, CHECKOUT, SetupError, digest, run_quietly

ARCHIVE = CACHE / "spark.jsa"
_MAKER = CHECKOUT / "include" / "nightloop" / "engine" / "class_archive.py"


def name_archive() -> str:
    """Return what an archive depends on: Java, pyspark, the Delta jars and what is asked of the server."""
    if not _MAKER.is_file():
        return "absent: the library is not here"
    if not ARCHIVE.is_file():
        return f"absent {time.time_ns()}"  # never the stamped one, so that the next set-up tries again
    java = subprocess.run([str(system.find_java()), "-version"], capture_output=True, text=True, check=False).stderr
    return digest(java, horovod.read_pin("pyspark"), jars.LOCK.read_text(), _MAKER.read_text())


def make_archive() -> str:
    """Make it; without one everything works, and the server needs twice as long to start."""
    if not _MAKER.is_file():
        return "left out, for the library is not here"
    try:
        maker = [sys.executable, "-m", "nightloop.engine.class_archive", str(ARCHIVE)]
        run_quietly(maker, CACHE / "logs" / "archive.log")
    except SetupError as error:
        return f"none, so Spark starts more slowly: {error}"
    return f"{ARCHIVE.stat().st_size / 1e6:.0f} MB, which halve the start of Spark"
