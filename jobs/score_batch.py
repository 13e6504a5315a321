"""Score each night of the replay with the champion of that night.

Reads features of the champion's feature version, the ledger's champion history, and the champions' artifacts, whose
digests are checked. Writes one Delta commit of `scores/<use case>`. Nights before the first champion are left out and
counted; where there is no other night the task is skipped. Fails when a champion's features were not built for its
night, and when scored and featured rows differ in number.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nightloop.dataset import DatasetRef
from nightloop.job.context import JobContext
from nightloop.job.frame import run_job
from nightloop.loop.night.feature_versions import assert_built
from nightloop.run import JobResult, format_night
from nightloop.scoring.champions import ScoringModel, group_nights
from nightloop.scoring.frame import score_frame
from nightloop.stores.ledger.rows import ModelRow


def score_batch(job: JobContext) -> JobResult:
    """Score, stage, publish."""
    scope, replay = job.replay.scope, job.replay
    # once, at the beginning: a change of champion meanwhile does not divide a night
    champions = {night: job.ledger.champion(scope, night) for night in replay.nights}
    models = {night: _describe(row) for night, row in champions.items() if row is not None}
    if not models:
        job.skip(f"no champion yet on {replay.first.date()} to {replay.last.date()}")
    ref = DatasetRef("scores", scope)
    groups = group_nights(models)
    with job.phase("score"):
        parts = [(_rows_of(job, model, nights), model) for model, nights in groups]
        expected = sum(rows.count() for rows, _ in parts)
        scored = reduce(DataFrame.unionByName, (_score(job, rows, model) for rows, model in parts))
        staged = job.lake.stage(scored, ref, replay, job.token)
    with job.phase("publish"):
        job.ledger.assert_not_fenced(replay, job.name, job.token)
        commit = job.lake.publish(staged, ref, replay, job.token, expected=expected)
        job.lake.drop_stage(ref, replay, job.token)
    counts = {"scored": commit.rows, "nights_without_champion": len(replay.nights) - len(models)}
    versions = ", ".join(str(model.version) for model, _ in groups)
    return job.result([ref], counts, facts={"model_versions": versions})


def _describe(row: ModelRow) -> ScoringModel:
    columns = (*row.recipe["numeric"], *row.recipe["categorical"])
    return ScoringModel(row.version, row.feature_version, columns, row.uri, row.digest)


def _rows_of(job: JobContext, model: ScoringModel, nights: Sequence[datetime]) -> DataFrame:
    ref = DatasetRef("features", job.replay.scope, model.feature_version)
    assert_built(ref, replace(job.replay, nights=tuple(nights)), job.ledger, job.lake_files)
    rows = job.lake.read(ref, job.replay.variant, job.replay.first, job.replay.last)
    return rows.where(F.col("night").isin([format_night(night) for night in nights]))


def _score(job: JobContext, rows: DataFrame, model: ScoringModel) -> DataFrame:
    use_case = job.use_case
    keep = ("row_id", *use_case.entity, "decision_time", "night", "variant")
    artifact = job.registry.read_model(model.uri, model.digest)
    is_binary = use_case.task == "binary"
    scored = score_frame(rows, artifact, model.columns, keep, use_case.scoring, is_binary=is_binary)
    about = {"model_version": F.lit(model.version), "feature_version": F.lit(model.feature_version)}
    ordered = ("row_id", *use_case.entity, "decision_time", "score", "decision", *about, "night", "variant")
    return scored.withColumns(about).select(*ordered)


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("score_batch", score_batch, argv)


if __name__ == "__main__":
    sys.exit(main())
