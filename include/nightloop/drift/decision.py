"""The nightly decision: nothing, investigate, wait or retrain. Pure, and blind to all that is later than the night."""

from dataclasses import replace

from nightloop.drift.inputs import DecisionInputs
from nightloop.drift.params import DriftParams
from nightloop.drift.past import find_due_wait, list_baseline
from nightloop.drift.reading import NightReading
from nightloop.drift.wording import explain_fall, explain_faults, explain_nights, explain_shifts, list_checks
from nightloop.verdict import Verdict

MEANWHILE = (
    "the champion has seen no outcome of such rows: review their decisions by hand or with a more careful threshold,"
    " and watch the score distribution"
)


def decide(inputs: DecisionInputs, params: DriftParams) -> Verdict:
    """Answer what to do after one night; the checks hold every figure that the answer rests on.

    A broken feed comes first, for nothing is learned from it; then an open request; then what matured labels say, a
    wait that is over, and a change of population.
    """
    reading = NightReading(inputs, params)
    verdict = (
        _answer_broken_feed(reading)
        or _answer_open_request(reading)
        or _answer_fall(reading)
        or _answer_due_wait(reading)
        or _answer_change(reading)
        or _answer_quiet(reading)
    )
    asked = {"open_request": inputs.open_request.isoformat()} if inputs.open_request else {}
    return replace(verdict, checks=tuple(list_checks(reading)), facts={**verdict.facts, **asked})


def _say(reading: NightReading, answer: str, reason: str, columns: tuple[str, ...] = (), **facts: str) -> Verdict:
    return Verdict(reading.inputs.scope, answer, reason, columns=columns, facts=facts)


def _answer_broken_feed(reading: NightReading) -> Verdict | None:
    if not reading.faults:
        return None
    if not reading.unreported:
        return _say(reading, "nothing", f"Still broken, as reported before: {explain_faults(reading.faults)}")
    columns = tuple(dict.fromkeys(fault.column for fault in reading.unreported))
    reason = f"The feed is broken: {explain_faults(reading.unreported)}"
    return _say(reading, "investigate", reason, columns, cause="feed")


def _answer_open_request(reading: NightReading) -> Verdict | None:
    asked = reading.inputs.open_request
    if asked is None:
        return None
    return _say(reading, "nothing", f"The request of {asked:%Y-%m-%d} is open; no second one is made")


def _answer_fall(reading: NightReading) -> Verdict | None:
    fall, champion = reading.fall, reading.inputs.champion
    if fall is None or champion is None or not fall.is_alarm or reading.is_fall_resting:
        return None
    columns = (champion.yardstick.metric, *(shift.column for shift in reading.alarms))
    reason = explain_fall(fall, champion.yardstick)
    if reading.alarms:
        reason = f"{reason}; the population changed too: {explain_shifts(reading.alarms)}"
    facts = {"cause": "performance", "since": fall.worse[0].isoformat(), "fallen_champion": str(champion.version)}
    return _say(reading, "retrain", reason, columns, **facts)


def _answer_due_wait(reading: NightReading) -> Verdict | None:
    """A wait that is over asks for the retraining that it was about; without a champion there is nothing to refresh."""
    champion = reading.inputs.champion
    if champion is None:
        return None
    wait = find_due_wait(reading.past, reading.inputs.as_of, champion.cut, reading.inputs.matures_at)
    rows = reading.count_lookalikes(wait.columns, list_baseline(wait)) if wait else 0
    if wait is None or rows < reading.params.min_new_rows:
        return None
    reason = (
        f"The wait of {wait.as_of:%Y-%m-%d} for labels of the changed {', '.join(wait.columns)} is over:"
        f" {rows:,} rows like tonight's have matured since the champion's cut of {champion.cut:%Y-%m-%d}"
    )
    facts = {"cause": "wait is over", "since": wait.facts["since"], "matured_rows": str(rows)}
    return _say(reading, "retrain", reason, wait.columns, **facts)


def _answer_change(reading: NightReading) -> Verdict | None:
    alarms = reading.alarms
    if not alarms:
        return None
    columns = tuple(shift.column for shift in alarms)
    first = min(shift.changed[0] for shift in alarms)
    rows = reading.count_lookalikes(columns, alarms[0].baseline)
    what = f"The population changed: {explain_shifts(alarms)}, {explain_nights(alarms[0].changed, alarms[0].tested)}"
    facts = {
        "cause": "population",
        "since": first.isoformat(),
        "matured_rows": str(rows),
        "baseline": " ".join(night.isoformat() for night in alarms[0].baseline),
    }
    if rows >= reading.params.min_new_rows:
        return _say(reading, "retrain", f"{what}. {rows:,} rows like tonight's have matured", columns, **facts)
    until = reading.next_maturity(alarms[0].changed)
    reason = f"{what}. Too few labels of such rows have matured ({rows:,}); more do from {until:%Y-%m-%d} on"
    if rows == 0:
        reason = f"{what}. No label of such rows has matured yet; the first do on {until:%Y-%m-%d}"
    return _say(reading, "wait", reason, columns, until=until.date().isoformat(), meanwhile=MEANWHILE, **facts)


def _answer_quiet(reading: NightReading) -> Verdict:
    if reading.inputs.as_of not in reading.inputs.history.rows:
        return _say(reading, "nothing", "No row was profiled tonight: no evidence")
    if not reading.shifts:
        return _say(reading, "nothing", "Insufficient data: too few rows tonight, or too few nights for a baseline")
    over = [shift.column for shift in reading.shifts.values() if shift.effect >= shift.limit]
    if over:
        reason = f"{', '.join(over)}: beyond the limit, but resting, ignored, or not (yet) in enough nights"
        return _say(reading, "nothing", reason)
    return _say(reading, "nothing", f"{len(reading.shifts)} columns within their limits")
