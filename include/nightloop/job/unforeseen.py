"""What lies behind an error that no job foresaw: an outage, a damaged lake, or a fault of ours."""

import logging
from pathlib import Path

from nightloop.fault import NightloopError, is_lost
from nightloop.run import EXIT_INPUT, EXIT_INTERNAL, EXIT_TRANSIENT

log = logging.getLogger("nightloop.job")

_NO_SPACE = ("No space left on device", "database or disk is full", "disk I/O error")
_FREE_SPACE = "a disk is full or failing: free some space where the state folder and Spark's scratch folder lie"
_TRY_AGAIN = (
    "the Spark server or a database was lost on the way, or a newer attempt took over; another attempt is worth while. "
    "If the server ends again and again, see the end of its log: where memory ran out, raise NIGHTLOOP_SPARK_MEMORY_MB"
)


def explain_ending(error: Exception, lake: str) -> int:
    """Log what a person can do about the error, where that can be found out, and return the job's exit code."""
    text = f"{type(error).__name__} {error}"
    is_full = any(mark in text for mark in _NO_SPACE)
    if is_full or is_lost(text):
        log.error("failed for now: %s", _FREE_SPACE if is_full else _TRY_AGAIN)
        return EXIT_TRANSIENT
    # looked at only now, for it reads the log of every table
    if "://" not in lake:
        from nightloop.stores.lake.damage import examine_lake

        if faults := examine_lake(Path(lake)):
            log.error("the lake is damaged\n%s", NightloopError(faults))
            return EXIT_INPUT
    return EXIT_INTERNAL
