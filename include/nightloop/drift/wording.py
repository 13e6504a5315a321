"""The decision in plain words, and its figures as checks."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from nightloop.drift.feed import FeedFault
from nightloop.drift.performance import PerformanceFall, Yardstick
from nightloop.drift.population import ColumnShift, least_limit
from nightloop.drift.reading import NightReading
from nightloop.verdict import Check

_NAMED = 3
EFFECT_NAMES = {"numeric": "PSI", "categorical": "Jensen-Shannon distance"}


def explain_faults(faults: Sequence[FeedFault]) -> str:
    return "; ".join(str(fault) for fault in faults)


def explain_shifts(shifts: Sequence[ColumnShift]) -> str:
    """Name the columns that changed, the strongest with their figures."""
    named = [
        f"{shift.column} ({EFFECT_NAMES[shift.kind]} {shift.effect:.2f}, limit {shift.limit:.2f}; {shift.words})"
        for shift in shifts[:_NAMED]
    ]
    others = [f"and {len(shifts) - _NAMED} more columns"] if len(shifts) > _NAMED else []
    return ", ".join([*named, *others])


def explain_nights(nights: Sequence[datetime], tested: int) -> str:
    return f"in {len(nights)} of the last {tested} nights, first on {nights[0]:%Y-%m-%d}"


def explain_fall(fall: PerformanceFall, yardstick: Yardstick) -> str:
    return (
        f"{yardstick.metric} of the matured rows is {fall.value:.4g}, {fall.loss:.0%} worse than the champion's"
        f" {yardstick.reference:.4g} (limit {fall.limit:.0%}), in {len(fall.worse)} of the last {fall.cohorts} measured"
        f" cohorts, first that of {fall.worse[0]:%Y-%m-%d}"
    )


def list_checks(reading: NightReading) -> Iterator[Check]:
    """Yield every figure that the decision looked at; a gauge can warn, never fail."""
    for fault in reading.faults:
        yield Check(f"feed: {fault.column} {fault.kind}", "fail", fault.figure, fault.limit, str(fault))
    if reading.fall is not None and (champion := reading.inputs.champion):
        fall, words = reading.fall, f"loss of {champion.yardstick.metric} against the reference"
        yield Check("performance", "fail" if fall.is_alarm else "pass", fall.loss, fall.limit, words)
    yield from _check_columns(reading)
    yield from _gauge_training(reading)


def _check_columns(reading: NightReading) -> Iterator[Check]:
    alarms = {shift.column for shift in reading.alarms}
    for name in reading.segments:
        shift = reading.shifts.get(name)
        if shift is None:
            yield Check(f"distance of {name}", "pass", detail="insufficient data: too few rows or nights to tell")
            continue
        outcome = "fail" if name in alarms else "warn" if shift.effect >= shift.limit else "pass"
        detail = f"{EFFECT_NAMES[shift.kind]} to the acknowledged baseline; {shift.words}"
        yield Check(f"distance of {name}", outcome, shift.effect, shift.limit, detail)  # type: ignore[arg-type]


def _gauge_training(reading: NightReading) -> Iterable[Check]:
    for name, distance in reading.distances_to_training().items():
        limit = least_limit(reading.segments[name].column, reading.params)
        outcome = "warn" if distance >= limit else "pass"
        detail = "to the champion's training nights: is the model extrapolating? never a cause"
        yield Check(f"training distance of {name}", outcome, distance, limit, detail)  # type: ignore[arg-type]
