"""Give the title back to an earlier model, for every night after the run's.

Reads the ledger's history of champions. Writes a change of champion and a line of audit, and moves the MLflow alias.
Options: `to_version` (default: the champion before the present one), `actor` and `why`. Fails when there is no such
model, or no champion to go back to.
"""

import sys
from collections.abc import Sequence

from nightloop.fault import Fault, NightloopError
from nightloop.job.context import JobContext
from nightloop.job.frame import run_job
from nightloop.run import JobResult
from nightloop.stores.ledger.rows import ChampionRow

ACTION = "rollback_champion"


def rollback_champion(job: JobContext) -> JobResult:
    scope, as_of = job.replay.scope, job.replay.last
    why = job.options.get("why") or "rolled back by hand"
    decided_by = f"{ACTION} by {job.options.get('actor') or 'an operator'}"
    history = [change for change in job.ledger.champion_history(scope) if change.decided_as_of <= as_of]
    named = job.options.get("to_version")
    version = _parse_version(named) if named else _find_earlier(scope, history, decided_by, job)
    model = job.ledger.model(scope, version)
    job.ledger.change_champion(scope, version, as_of, decided_by, why)
    change = [one for one in job.ledger.champion_history(scope) if one.decided_as_of <= as_of][-1]
    job.ledger.write_audit(scope, ACTION, decided_by, why, _name(change.from_version), _name(version), as_of)
    job.registry.set_champion_alias(scope, model.digest)
    return job.result(facts={"from": _name(change.from_version), "to": _name(version)})


def _parse_version(text: str) -> int:
    if not text.isdecimal():
        raise NightloopError(Fault("to_version", "a whole number", text, "name a registered version"))
    return int(text)


def _find_earlier(scope: str, history: Sequence[ChampionRow], decided_by: str, job: JobContext) -> int:
    """Return the champion before the present one; a retry finds the change that its first try made."""
    if history and (history[-1].decided_as_of, history[-1].decided_by) == (job.replay.last, decided_by):
        return history[-1].version
    line: list[int] = []
    for change in history:
        # a version that comes again was gone back to: what had replaced it is no champion to go back to
        line = line[: line.index(change.version)] if change.version in line else line
        line.append(change.version)
    if len(line) < 2:  # noqa: PLR2004 - the present one and one before it
        remedy = "name one with `to_version`; `nightloop status` lists the models"
        raise NightloopError(Fault(f"champion of {scope}", "an earlier champion", f"{line or 'none'}", remedy))
    return line[-2]


def _name(version: int | None) -> str:
    return "" if version is None else str(version)


def main(argv: Sequence[str] | None = None) -> int:
    return run_job(ACTION, rollback_champion, argv)


if __name__ == "__main__":
    sys.exit(main())
