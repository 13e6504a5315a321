"""What a retraining leaves between its jobs: its plan, its candidates, its verdicts, its work folder."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from nightloop.artifact import score_table
from nightloop.evaluation.bootstrap import JudgedRows
from nightloop.evaluation.disturbance import disturb
from nightloop.evaluation.metrics import Floats
from nightloop.fault import Fault, NightloopError
from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.loop.night.asof_inputs import load_sources, version_features
from nightloop.run import RunKey
from nightloop.training.params import Params
from nightloop.training.plan import CHAMPION, PlannedCandidate, plan_candidates, read_recipe
from nightloop.verdict import Verdict

if TYPE_CHECKING:
    from nightloop.stores.ledger.ledger import Ledger
    from nightloop.stores.ledger.rows import ChampionRow, ModelRow

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


def drop_work(work: Path, before: datetime) -> int:
    """Remove the folders of runs and of killed attempts in which nothing was written since; return how many."""
    left = [*work.glob("attempt-*"), *work.glob("*/[0-9]*")]
    old = [
        folder
        for folder in left
        # of everything below: a folder's own time does not change when a file deep in it is written
        if max(path.lstat().st_mtime for path in (folder, *folder.rglob("*"))) < before.timestamp()
    ]
    for folder in old:
        shutil.rmtree(folder)
    return len(old)


def twin_folder(folder: Path, window: int) -> Path:
    """Return where a candidate leaves its twin of a judging window, the youngest being 0, below its own folder."""
    return folder / f"window-{window}" if window else folder


def write_candidate(folder: Path, model: bytes, candidate: WorkCandidate) -> None:
    """Leave a candidate for the judge."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model)
    # after the model: an attempt that is killed in between leaves no candidate to judge
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
    from nightloop.stores.ledger.rows import ModelRow

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
