"""Keep the lake small: drop what nobody needs, compact small files, delete files that no version needs, report sizes.

Drops staging of closed runs, feature versions that neither the folder as it is nor a registered model needs, and the
nights that `retention_days` of a folder lets go; `loop.upkeep_inputs` says what is kept all the same. Rewrites
small files of every table; the rows of the nights that stay do not change. Removes what trainings left in their work
folders. Options: `retention_hours` (168): files that left a table, or were left at work, longer ago are deleted;
`max_small_files` (8): a night with more files is compacted. Writes `lake.html` and `lake.json` to the reports. While a
folder has faults nothing is dropped. What Delta refuses of one table is reported, and the others go on; a lost session
ends the job.
"""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nightloop.fault import NightloopError
from nightloop.folders.loading import load_sources, load_use_cases
from nightloop.job.context import JobContext
from nightloop.job.frame import run_job
from nightloop.loop.retention import Expiry, list_unneeded, plan_expiries
from nightloop.loop.retraining.work import drop_work
from nightloop.run import JobResult

if TYPE_CHECKING:
    from nightloop.stores.lake.upkeep import Upkeep


def compact_lake(job: JobContext) -> JobResult:
    from nightloop.stores.lake.upkeep import Upkeep

    # upkeep writes without `publish`, which would claim it
    job.lake.claim()
    hours = float(job.options.get("retention_hours", "168"))
    upkeep = Upkeep(job.lake, hours)
    expiries, facts = [], {}
    with job.phase("drop"):
        upkeep.drop_stages(job.ledger)
        try:
            expiries = _drop_versions(job, upkeep)
        except NightloopError as error:
            facts["nothing_dropped"] = " ".join(str(error).split())[:300]
    with job.phase("expire"):
        for expiry in [each for each in expiries if upkeep.list_nights(each.ref, each.before)]:
            # recorded first: a night that went without a record would be computed again from what is left
            job.ledger.record_expiry(expiry.ref, expiry.before, expiry.why, job.replay.last)
            upkeep.drop_nights(expiry.ref, expiry.before)
        left = drop_work(job.settings.work, datetime.now(UTC) - timedelta(hours=hours))
    with job.phase("tables"):
        for ref in job.lake.tables():
            upkeep.compact_table(ref, int(job.options.get("max_small_files", "8")))
            upkeep.vacuum_table(ref)
    with job.phase("report"):
        sizes, links = _report(job)
    return job.result(
        counts={**upkeep.counts, **sizes, "work_folders": left}, facts=facts | upkeep.failures, links=links
    )


def _drop_versions(job: JobContext, upkeep: "Upkeep") -> list[Expiry]:
    """Drop unneeded feature versions and return what the retentions let go of the other tables."""
    use_cases = {one.name: one for one in load_use_cases(job.settings.folders)}
    sources = {one.name: one for one in load_sources(job.settings.folders)}
    for ref in list_unneeded(job.lake.tables(), use_cases, sources, job.ledger):
        upkeep.drop_table(ref)
    return plan_expiries(job.lake.tables(), use_cases, sources, job.ledger)


def _report(job: JobContext) -> tuple[dict[str, int], dict[str, str]]:
    from nightloop.stores.lake.sizes import draw_page, measure_lake, write_json

    sizes = measure_lake(job.lake_files)
    job.reports.write("lake", job.run_key, "lake.json", write_json(sizes))
    page = job.reports.write("lake", job.run_key, "lake.html", draw_page(sizes, f"Lake, {job.replay.last.date()}"))
    counts = {f"{name}:{size.table}": getattr(size, name) for size in sizes for name in ("files", "bytes")}
    return counts, {"report": str(page)}


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("compact_lake", compact_lake, argv)


if __name__ == "__main__":
    sys.exit(main())
