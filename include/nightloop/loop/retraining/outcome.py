"""How a retraining ends: its verdicts, a person's answer, and the version that comes of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nightloop.fault import Fault, NightloopError
from nightloop.folders.use_case import UseCase
from nightloop.run import RunKey
from nightloop.training.plan import PlannedCandidate
from nightloop.verdict import Verdict

if TYPE_CHECKING:
    from nightloop.stores.ledger.ledger import Ledger
    from nightloop.stores.ledger.rows import ChampionRow, ModelRow

GATE, REFIT = "gate", "refit"
CHANGES = "champion_changes"  # fact of the gate's verdict: how many changes of champion there were when it judged
PINNED_PARAMS = ("seed", "ranks", "accelerator")  # what of the training's parameters a model's bytes depend on
_APPROVALS = {"Approve": True, "Reject": False}  # as Airflow's approval task words them


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
