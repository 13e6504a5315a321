"""Keep the lake small: compact small files, remove what no version needs, clear the staging of closed runs.

Reads and rewrites every table of the lake; its rows stay as they are. Options: `retention_hours` (168): files that
left a table longer ago are deleted; `max_small_files` (8): a table is compacted when a partition holds more files.
Reports files and bytes per table. What Delta refuses of one table is reported, and the
others go on; a lost session ends the job.
"""

import sys
from collections.abc import Sequence

from nightloop.job import JobContext, run_job
from nightloop.run import JobResult


def compact_lake(job: JobContext) -> JobResult:
    from nightloop.stores.upkeep import compact_table, drop_stages, vacuum_table

    retention_hours = float(job.options.get("retention_hours", "168"))
    max_small_files = int(job.options.get("max_small_files", "8"))
    counts, failures = {"compacted": 0, "vacuumed": 0}, {}
    job.lake.claim()
    with job.phase("staging"):
        counts["stages_dropped"] = drop_stages(job.lake, job.ledger)
    for ref in job.lake.tables():
        with job.phase("tables"):
            try:
                size = compact_table(job.lake, ref, max_small_files)
                counts["vacuumed"] += vacuum_table(job.lake, ref, retention_hours)
            except job.lake.failures as error:
                if "DELTA_" not in str(error):
                    raise
                failures[f"failed:{ref}"] = " ".join(str(error).split())[:300]
                continue
        counts["compacted"] += size.is_compacted
        counts |= {f"files:{ref}": size.files, f"bytes:{ref}": size.bytes}
    return job.result(counts=counts, facts=failures)


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("compact_lake", compact_lake, argv)


if __name__ == "__main__":
    sys.exit(main())
