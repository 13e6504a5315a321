"""Prove that stored features knew nothing of their future.

Draws one stored night, an earlier one where there is any, and at most 500 of its rows: the same ones for the same run.
Recomputes them from clean rows of which everything that was known or loaded after that night is filtered out, and
compares every value. Writes a check to the ledger, nothing else. Fails when a value differs, naming row, column and
both values: someone changed stored features or an old partition, or the views looked ahead. Option `night`: the night
to prove; `sample`: how many rows.
"""

import sys
from collections.abc import Sequence

from nightloop.dataset import DatasetRef
from nightloop.fault import Fault, NightloopError
from nightloop.job.context import JobContext
from nightloop.job.frame import run_job
from nightloop.loop.night.asof_inputs import choose_night, list_nights, load_sources, open_past, version_features
from nightloop.run import JobResult, RunKey, format_night
from nightloop.verdict import Check

SAMPLE_ROWS = 500
_SHOWN = 5


def prove_asof(job: JobContext) -> JobResult:
    from nightloop.asof.features import build_features
    from nightloop.asof.proof import Sample, find_differences, read_rows
    from nightloop.asof.spine import build_spine, check_spine

    use_case, replay = job.use_case, job.replay
    sources = load_sources(use_case, job.load_source)
    ref = DatasetRef("features", use_case.name, version_features(use_case, sources))
    night = choose_night(job.lake_files.nights(ref, replay.variant), replay, job.options.get("night"))
    if night is None:
        job.skip("no features are stored yet")
    # the proved night's own: one that was loaded with a whole history knew up to that load
    knowledge = job.ledger.known_to(RunKey(replay.scope, night, replay.variant)) or replay.knowledge
    proof_ref, token = DatasetRef("features", use_case.name, "proof"), job.token

    with job.phase("sample"):
        stored = job.lake.read(ref, replay.variant, night, night)
        sample = Sample.draw(stored, int(job.options.get("sample", SAMPLE_ROWS)))
    with job.phase("recompute"):
        past = open_past(use_case, sources, job.lake, knowledge, night)
        nights = list_nights(use_case.schedule, [night])
        spine = sample.select(build_spine(past, nights, use_case.entity, use_case.spine_sql, replay.variant))
        spine = job.lake.stage(spine, proof_ref, replay, token)
        figures = check_spine(spine, nights, use_case.entity)
        numeric, categorical = use_case.features.numeric, use_case.features.categorical
        built = build_features(spine, figures, past, use_case.features_sql, numeric, categorical, use_case.entity)
        recomputed = read_rows(built.collect()) if figures.total else {}
        job.lake.drop_stage(proof_ref, replay, token)
    differences = find_differences(sample.rows, recomputed)
    detail = "; ".join(str(difference) for difference in differences[:_SHOWN])
    check = Check(f"as-of proof of {format_night(night)}", "fail" if detail else "pass", len(differences), 0, detail)
    job.ledger.write_checks(job.run_key, token, f"{ref} proved", [check])
    if differences:
        remedy = "find out who changed these features or the clean rows below them; `nightloop prove` repeats the proof"
        found = f"{len(differences)} values differ: {detail}"
        raise NightloopError(Fault(f"{ref}, night {format_night(night)}", "what its past gives", found, remedy))
    return job.result(counts={"rows": len(sample.rows)}, facts={"proved": format_night(night)})


def main(argv: Sequence[str] | None = None) -> int:
    return run_job("prove_asof", prove_asof, argv)


if __name__ == "__main__":
    sys.exit(main())
