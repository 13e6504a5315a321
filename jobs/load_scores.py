"""Load the scores of the replay's nights from the lake into the warehouse.

Reads `scores/<use case>` of the lake. Replaces exactly these nights in the warehouse, in one transaction. Fails when
the warehouse then holds other than the lake's number of rows, and as fenced when a newer attempt loaded the nights.
"""

import sys
from collections.abc import Sequence

from nightloop.dataset import DatasetRef
from nightloop.fault import Fault, NightloopError
from nightloop.job.context import JobContext
from nightloop.job.frame import run_job
from nightloop.run import JobResult

COLUMNS = ("row_id", "decision_time", "score", "decision", "model_version", "feature_version", "night")


def load_scores(job: JobContext) -> JobResult:
    ref = DatasetRef("scores", job.replay.scope)
    nights = job.lake_files.open(ref, job.replay)
    job.ledger.assert_not_fenced(job.replay, job.name, job.token)
    with job.phase("load"):
        loaded = job.warehouse.replace_scores(job.replay.run_keys, nights.stream(COLUMNS), job.token)
    with job.phase("verify"):
        found = {
            "lake": nights.count(),
            "loaded": loaded,
            "warehouse": job.warehouse.count("scores", job.replay.run_keys),
        }
    if len(set(found.values())) != 1:
        where = f"warehouse scores of {job.run_key}"
        raise NightloopError(Fault(where, "as many rows as in the lake", str(found), "run the task again"))
    return job.result(outputs=[ref], counts={"loaded": loaded})


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("load_scores", load_scores, argv)


if __name__ == "__main__":
    sys.exit(main())
