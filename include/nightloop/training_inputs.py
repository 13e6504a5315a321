"""What a retraining reads and leaves between its jobs: its plan, its rows, its verdicts, its work folder."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nightloop.artifact import score_table
from nightloop.asof_inputs import load_sources, version_features
from nightloop.dataset import DatasetRef
from nightloop.evaluation.bootstrap import JudgedRows
from nightloop.evaluation.disturbance import disturb
from nightloop.evaluation.metrics import Floats
from nightloop.fault import Fault, NightloopError
from nightloop.feature_builds import refused_nights
from nightloop.run import MAIN_VARIANT, Replay, RunKey, parse_night
from nightloop.schedule import ticks
from nightloop.source import Source
from nightloop.stores.lake_files import LakeFiles
from nightloop.training.dataset import content_hash, join_labels, matured_labels, select_window
from nightloop.training.params import Params
from nightloop.training.plan import CHAMPION, PlannedCandidate, plan_candidates, read_recipe
from nightloop.use_case import UseCase
from nightloop.verdict import Verdict

if TYPE_CHECKING:
    from nightloop.stores.ledger import ChampionRow, Ledger, ModelRow

GATE, REFIT = "gate", "refit"
CHANGES = "champion_changes"  # fact of the gate's verdict: how many changes of champion there were when it judged
PINNED_PARAMS = ("seed", "ranks", "accelerator")  # what of the training's parameters a model's bytes depend on
_APPROVALS = {"Approve": True, "Reject": False}  # as Airflow's approval task words them


@dataclass(frozen=True)
class WorkCandidate:
    """What `train_candidate` leaves for the judge: the twin's artifact and what is known of it."""

    digest: str
    chosen: float
    choices: Mapping[str, float]
    baseline: tuple[float, ...]
    params: Params
    pins: Mapping[str, Any] = field(default_factory=dict)


def make_plan(
    use_case: UseCase, load_source: Callable[[str], Source], champion: "ModelRow | None"
) -> list[PlannedCandidate]:
    """Return the candidates of a retraining; the champion's recipe is one of them."""
    version = version_features(use_case, load_sources(use_case, load_source))
    known = None
    if champion is not None:
        known = read_recipe(CHAMPION, champion.recipe, champion.feature_version, is_champion=True)
    numeric, categorical = use_case.features.numeric, use_case.features.categorical
    return plan_candidates(use_case.training.candidates, numeric, categorical, version, known)


def find_candidate(planned: Sequence[PlannedCandidate], name: str) -> PlannedCandidate:
    """Return the candidate of a name.

    Raises:
        NightloopError: the plan has no such candidate.
    """
    for one in planned:
        if one.name == name:
            return one
    names = ", ".join(one.name for one in planned)
    raise NightloopError(Fault("option candidate", f"one of {names}", name, "see the facts of plan_retraining"))


def read_labels(use_case: UseCase, lake: LakeFiles, after: datetime | None, until: datetime) -> pa.Table:
    """Return the observed labels that matured in (after, until].

    Raises:
        NightloopError: none did.
    """
    start = datetime.combine(use_case.start, time(), UTC) if after is None else after
    nights = tuple(night for night in ticks(use_case.schedule, start, until) if after is None or night > after)
    columns = ["row_id", *use_case.entity, "decision_time", "cohort", "label", "is_observed", "night"]
    found = _read(lake, DatasetRef("labels", use_case.name), Replay(use_case.name, nights), columns) if nights else None
    labels = None if found is None else matured_labels(found, after, until)
    if labels is None or not labels.num_rows:
        since = "ever" if after is None else f"after {after.isoformat()}"
        where = f"labels of {use_case.name} as of {until.isoformat()}"
        remedy = "wait for cohorts to mature, or run measure_outcomes for the nights in which they did"
        raise NightloopError(Fault(where, f"observed outcomes that matured {since}", "none", remedy))
    return labels


def features_ref(use_case: UseCase, planned: PlannedCandidate) -> DatasetRef:
    """Return the table of the feature version that a candidate sees."""
    return DatasetRef("features", use_case.name, planned.feature_version)


def leave_out_refused(
    use_case: UseCase, lake: LakeFiles, ledger: "Ledger", planned: Sequence[PlannedCandidate], labels: pa.Table
) -> tuple[pa.Table, list[str]]:
    """Return the labels of the cohorts whose features all candidates have, and the nights that cannot be refilled.

    Raises:
        NightloopError: no cohort is left.
    """
    cohorts = Replay(use_case.name, _cohorts(labels))
    refs = dict.fromkeys(features_ref(use_case, one) for one in planned)
    refused = sorted({night for ref in refs for night in refused_nights(ref, cohorts, ledger, lake)})
    kept = labels.filter(pc.invert(pc.is_in(labels.column("cohort"), pa.array(refused, pa.string()))))
    if not kept.num_rows:
        where, found = f"features of {len(cohorts.nights)} labelled nights", "none that could be refilled"
        remedy = "see the facts of build_features, and run clean_source again where it says so"
        raise NightloopError(Fault(where, ", ".join(map(str, refs)), found, remedy))
    return kept, refused


def read_judged(
    use_case: UseCase,
    lake: LakeFiles,
    ledger: "Ledger",
    planned: Sequence[PlannedCandidate],
    opened: datetime,
    until: datetime,
) -> pa.Table:
    """Return the labels that all candidates are judged on: matured since the window opened, with everyone's features.

    Raises:
        NightloopError: there are none.
    """
    return leave_out_refused(use_case, lake, ledger, planned, read_labels(use_case, lake, opened, until))[0]


def read_rows(use_case: UseCase, lake: LakeFiles, planned: PlannedCandidate, labels: pa.Table) -> pa.Table:
    """Return the labelled rows with the features that a candidate sees, their entity key, and protected attributes.

    A protected attribute that an older version does not have is left out.

    Raises:
        NightloopError: a labelled row has no features of the candidate's version.
    """
    ref = features_ref(use_case, planned)
    stored = lake.open(ref, Replay(use_case.name, _cohorts(labels)))
    own = [name for name in (*use_case.entity, *use_case.protected) if name in stored.columns]
    batches = list(stored.stream(list(dict.fromkeys(["row_id", *own, "decision_time", *planned.columns]))))
    if not batches:
        raise NightloopError(Fault(f"lake table {ref}", "features of the labelled nights", "none", "build_features"))
    features = pa.Table.from_batches(batches)
    return join_labels(features, labels)


def read_training_rows(
    use_case: UseCase, lake: LakeFiles, ledger: "Ledger", planned: PlannedCandidate, cut: datetime
) -> tuple[pa.Table, dict[str, Any]]:
    """Return the rows a candidate may train on as of a cut, and the pins that fix them."""
    matured = select_window(read_labels(use_case, lake, None, cut), cut, use_case.training.window_days)
    labels, refused = leave_out_refused(use_case, lake, ledger, [planned], matured)
    rows = read_rows(use_case, lake, planned, labels)
    decided = rows.column("decision_time")
    pins = {
        "feature_version": planned.feature_version,
        "spine_from": decided[0].as_py().isoformat() if rows.num_rows else "",
        "spine_to": decided[-1].as_py().isoformat() if rows.num_rows else "",
        "as_of": cut.isoformat(),
        "rows": rows.num_rows,
        "content": content_hash(rows),
        "nights_without_features": len(refused),
    }
    return rows, pins


def entity_keys(rows: pa.Table, entity: Sequence[str]) -> list[str]:
    """Return one key per row: its entity columns, joined."""
    columns = (rows.column(name).cast(pa.string()).to_pylist() for name in entity)
    return ["|".join(map(str, values)) for values in zip(*columns, strict=True)]


def judged_rows(rows: pa.Table, use_case: UseCase) -> JudgedRows:
    """Return labelled rows as the gate sees them, with the groups of protected and sliced attributes that they hold."""
    protected, slices = (
        {
            name: rows.column(name).cast(pa.string()).fill_null("").to_numpy()
            for name in names
            if name in rows.column_names
        }
        for names in (use_case.protected, use_case.promotion.slices)
    )
    entities = np.array(entity_keys(rows, use_case.entity))
    return JudgedRows(rows.column("label").to_numpy(), rows.column("cohort").to_numpy(), entities, protected, slices)


def score_disturbed(model: bytes, rows: pa.Table, planned: PlannedCandidate) -> dict[str, Floats]:
    """Return a model's scores of the rows under each disturbance of the features that it sees, by its name."""
    moved = disturb(rows, planned.numeric, planned.categorical)
    return {name: score_table(model, table) for name, table in moved}


def work_folder(work: Path, run_key: RunKey, candidate: str) -> Path:
    """Return where one candidate of a run works; it survives an attempt, so that a training can go on."""
    return work / run_key.scope / run_key.night / run_key.variant / candidate


def write_candidate(folder: Path, model: bytes, candidate: WorkCandidate) -> None:
    """Leave a candidate for the judge."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model)
    (folder / "model.json").write_text(json.dumps(vars(candidate), indent=1))


def read_candidate(folder: Path) -> tuple[WorkCandidate, Path]:
    """Return what a candidate left, and the path of its artifact.

    Raises:
        NightloopError: it left nothing.
    """
    path = folder / "model.json"
    if not path.exists():
        raise NightloopError(Fault(f"candidate {folder.name}", "a fitted model", "none", "run its train_candidate"))
    document = json.loads(path.read_text())
    return WorkCandidate(**{**document, "baseline": tuple(document["baseline"])}), folder / "model.onnx"


def find_verdict(ledger: "Ledger", run_key: RunKey, kind: str) -> Verdict:
    """Return the verdict of a kind that was given in this very run.

    Raises:
        NightloopError: there is none.
    """
    for row in ledger.verdicts(run_key.scope, kind=kind, variant=run_key.variant):
        if row.as_of == run_key.as_of:
            return row.verdict
    job = {GATE: "judge_candidates", REFIT: "refit_recipe"}[kind]
    raise NightloopError(Fault(f"{kind} verdict of {run_key}", "one", "none", f"run {job} first"))


@dataclass(frozen=True)
class Approval:
    """A person's answer to a refitted model."""

    is_given: bool
    by: str


@dataclass(frozen=True)
class Outcome:
    """How a retraining ends: the version that becomes champion, or none, why, and who decided."""

    answer: str
    reason: str
    version: int | None = None
    actor: str = GATE


def outcome_of(
    gate: Verdict, refit: Verdict | None, approval: Approval | None, changes: "Sequence[ChampionRow]" = ()
) -> Outcome:
    """Return what follows from the verdicts, and from a person's answer where the use case asks for one.

    A refit that scores unlike its judged twin keeps the champion, and so do a rejection and another's change of
    champion since the gate judged: nothing was compared with that one.
    """
    if gate.answer != "promote" or refit is None:
        return Outcome(gate.answer, gate.reason)
    if refit.answer != "agree":
        return Outcome("keep", refit.reason)
    version, reason = int(refit.facts["model_version"]), f"{gate.reason}; {refit.reason}"
    if changes and changes[0].version != version:  # where it is this version, an earlier try of this run made it so
        by = f"version {changes[0].version} became champion by {changes[0].decided_by} after the gate had judged"
        return Outcome("keep", f"{by}: train again; {reason}")
    if approval is None:
        return Outcome("promote", reason, version)
    if approval.is_given:
        return Outcome("promote", f"{reason}; approved by {approval.by}", version, approval.by)
    return Outcome("keep", f"version {version} was rejected by {approval.by}; {reason}", None, approval.by)


def read_approval(use_case: UseCase, options: Mapping[str, str]) -> Approval | None:
    """Return the person's answer that a job was given; none where the use case promotes by itself.

    Raises:
        NightloopError: the use case asks for a person's answer, and there is none.
    """
    if use_case.promotion.approval == "auto":
        return None
    answer = options.get("approval", "")
    if answer not in _APPROVALS:
        where, expected = f"approval of {use_case.name}", " or ".join(_APPROVALS)
        raise NightloopError(Fault(where, expected, answer or "none", "answer the task approve_model in the web UI"))
    return Approval(_APPROVALS[answer], options.get("approved_by") or "nobody, within the time to answer")


def describe_model(
    use_case: UseCase,
    planned: PlannedCandidate,
    digest: str,
    uri: str,
    as_of: datetime,
    pins: Mapping[str, Any],
    gate: Verdict,
) -> "ModelRow":
    """Return the ledger's row of a refitted model; its metrics are those of its judged twin."""
    from nightloop.stores.ledger import ModelRow

    metrics: dict[str, float] = {use_case.promotion.metric: float(gate.facts["value"])}
    version = planned.feature_version
    return ModelRow(use_case.name, 0, digest, uri, planned.to_dict(), version, as_of, dict(pins), metrics)


def assert_requested(ledger: "Ledger", scope: str, requests: Sequence[datetime]) -> None:
    """Pass if every event that woke a retraining has its request row.

    Raises:
        NightloopError: names the events without one.
    """
    rows = {row.as_of for row in ledger.verdicts(scope) if row.answer == "retrain"}
    faults = [
        Fault(
            f"retraining request of {scope} as of {as_of.isoformat()}",
            "a drift verdict in the ledger that answers `retrain`",
            "none",
            "only decide_retraining makes requests; start a retraining by hand without one",
        )
        for as_of in requests
        if as_of not in rows
    ]
    if faults:
        raise NightloopError(faults)


def _cohorts(labels: pa.Table) -> tuple[datetime, ...]:
    return tuple(sorted(parse_night(night) for night in labels.column("cohort").unique().to_pylist()))


def _read(lake: LakeFiles, ref: DatasetRef, replay: Replay, columns: Sequence[str]) -> pa.Table | None:
    batches = list(lake.open(ref, Replay(replay.scope, replay.nights, MAIN_VARIANT)).stream(columns))
    return pa.Table.from_batches(batches) if batches else None
