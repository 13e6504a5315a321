"""Load a source's landed files into its raw table.

Lands what the night takes from a database or a Delta table, where the source is one. Reads the landing zone and the
ledger's manifest. Writes one Delta commit of `raw/<source>`, the manifest, counts and checks. Fails on a file whose
columns are not the contract's, on a file that cannot be read, on an undeclared column that looks like personal data
(nothing is written), and on a recorded file that has disappeared before its night closed. A night without files writes
nothing and deletes nothing. A night is hashed under the key of its first load.
"""

import sys
from collections.abc import Sequence

from nightloop.dataset import DatasetRef
from nightloop.job.context import JobContext
from nightloop.job.frame import run_job
from nightloop.loop.night.intake import LandedLoad, load_checks, locate_broken, plan_load
from nightloop.loop.night.received import (
    PII_KEY,
    KeyedFiles,
    group_by_key,
    keys_by_night,
    read_received,
    record_keys,
    scan_files,
)
from nightloop.run import MAIN_VARIANT, JobResult


def land_source(job: JobContext) -> JobResult:
    from pyspark.sql import functions as F

    from nightloop.etl.places import add_places
    from nightloop.etl.unreadable import naming_unreadable
    from nightloop.loop.night.extraction import land_extracts
    from nightloop.privacy.keyed import key_id
    from nightloop.stores.keys import load_key_ring

    source, replay, ref = job.source, job.replay, DatasetRef("raw", job.source.name)
    if source.extract is not None:
        with job.phase("extract"):
            land_extracts(source, replay, job.ledger, job.settings.landing, job.scratch)
    with job.phase("list"):
        fetch_to = None if "://" in job.settings.lake else job.scratch  # with a lake on S3 the engine reads S3 itself
        load = plan_load(source, replay, job.ledger, job.settings.landing, fetch_to)
        job.files_read += [file.address.rpartition("/")[0] for file in load.files]
    if not load.files:
        return _finish(job, load, {}, {})

    with job.phase("scan"):
        scan_files(source, [load.landed[file.checksum] for file in load.files])
    groups: KeyedFiles = [(b"", list(load.files))]
    if source.pii:
        recorded = keys_by_night(job.ledger, source.name, replay.variant)
        groups = group_by_key(load.files, recorded, load_key_ring(job.settings.home))
    with job.phase("read"), naming_unreadable(job.spark, load.files, replay.variant, source.read):
        staged = job.lake.stage(read_received(job.spark, source, groups, replay.variant), ref, replay, job.token)
        corrupt = F.collect_list(F.when(F.col("_corrupt"), F.col("_row"))).alias("corrupt")
        found = staged.groupBy("_checksum").agg(F.count("*").alias("rows"), corrupt).collect()
        broken = {row["_checksum"]: (row["rows"], row["corrupt"]) for row in found if row["corrupt"]}
        staged = add_places(staged, locate_broken(source, load, broken))
    received = {file.checksum: 0 for file in load.files} | {row["_checksum"]: row["rows"] for row in found}
    with job.phase("publish"):
        job.ledger.assert_not_fenced(replay, job.name, job.token)
        total = sum(received.values())
        written = load.replay_of_files(replay)
        # files without a row: an empty frame would delete their nights
        if total:
            job.lake.publish(staged, ref, written, job.token, expected=total, is_counted=True, may_add_columns=True)
        job.lake.drop_stage(ref, replay, job.token)
        if source.pii:
            record_keys(job.ledger, source.name, replay.variant, job.token, groups)
    return _finish(job, load, received, {PII_KEY: ", ".join(key_id(key) for key, _ in groups)} if source.pii else {})


def _finish(job: JobContext, load: LandedLoad, received: dict[str, int], facts: dict[str, str]) -> JobResult:
    """Write manifest, counts and checks; the nights close when `clean_source` has published them."""
    ref = DatasetRef("raw", job.source.name)
    with job.phase("record"):
        # after the rows: a file in the manifest counts as loaded, and no other night takes it
        if job.replay.variant == MAIN_VARIANT:
            job.ledger.record_files(job.source.name, load.file_rows(received), job.token)
        for run_key in job.replay.run_keys:
            if run_key.as_of not in load.kept:
                job.ledger.write_counts(run_key, job.token, load.counts(run_key.as_of, received))
            job.ledger.write_checks(run_key, job.token, str(ref), load_checks(load, run_key.as_of))
    totals = {"files": len(load.files), "skipped": len(load.skipped), "received": sum(received.values())}
    return job.result([ref] if load.files else [], totals, facts=facts)


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("land_source", land_source, argv)


if __name__ == "__main__":
    sys.exit(main())
