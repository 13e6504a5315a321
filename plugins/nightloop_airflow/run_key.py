"""Turn any Airflow context into the run that a job is asked for: which nights, which variant, which requests.

Airflow gives asset-triggered runs no logical date, and what arrives in params, run conf and events is data: it is
parsed and checked here, in one place, and never templated. Imports no Airflow.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from nightloop.fault import Fault, NightloopError
from nightloop.folders.schedule import first_tick_at_or_after, last_tick_at_or_before, next_tick
from nightloop.run import MAIN_VARIANT, parse_instant

# it names a folder and stands in conditions of SQL: no separator and no quote
VARIANT_PATTERN = r"[a-z][a-z0-9_.-]{0,62}"
_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Run:
    """What one task run computes: the nights in [first, as_of] of one variant, and the request rows it answers."""

    as_of: datetime
    first: datetime
    variant: str = MAIN_VARIANT
    requests: tuple[datetime, ...] = ()


def resolve_run(
    schedule: str | None,
    params: Mapping[str, Any],
    events: Sequence[Mapping[str, Any]] = (),
    logical_date: datetime | None = None,
) -> Run:
    """Return the run that a DAG run stands for: params before asset events before the logical date.

    Param `as_of` names a night, params `first` and `last` days of a longer replay; a logical date counts as the last
    night at or before it. Events that Airflow coalesced into one run are joined: all their requests, the youngest
    as_of. `schedule` is the cron of the source or use case; None for platform jobs, which have no nights.

    Raises:
        NightloopError: nothing names a night, or what names it is no night of the schedule.
    """
    variant = _parse_variant(params.get("variant") or MAIN_VARIANT)
    if params.get("as_of"):
        as_of = _check_night(schedule, _parse("param as_of", params["as_of"]), "param as_of")
        return Run(as_of, as_of, variant)
    if params.get("last"):
        return _resolve_range(schedule, params, variant)
    if events:
        requests = sorted({_parse("event's requests", text) for event in events for text in _requests_of(event)})
        named = [*requests, *(_parse("event's as_of", event["as_of"]) for event in events if event.get("as_of"))]
        if not named:
            raise _refuse("asset event", 'extra {"as_of": …, "requests": […]}', "an event that names no night")
        as_of = _check_night(schedule, max(named), "event's as_of")
        return Run(as_of, as_of, variant, tuple(requests))
    if logical_date is None:
        raise _refuse("this run", "a param as_of, an asset event or a logical date", "none of them")
    as_of = last_tick_at_or_before(schedule, logical_date) if schedule else logical_date.replace(microsecond=0)
    return Run(as_of, as_of, variant)


def run_of_context(context: Mapping[str, Any], schedule: str | None) -> Run:
    """Return the run that an Airflow task context stands for; see `resolve_run`."""
    events = [event.extra for group in (context.get("triggering_asset_events") or {}).values() for event in group]
    return resolve_run(schedule, context.get("params") or {}, events, context.get("logical_date"))


def reach_back(run: Run, days: int | str, start: date) -> Run:
    """Return the run begun `days` earlier (`unbounded`: at the start), but never before the folder's start."""
    earliest = datetime.combine(start, time(), UTC)
    first = earliest if days == "unbounded" else run.first - timedelta(days=int(days))
    # never after the night itself, where the folder starts later than that
    return Run(run.as_of, min(max(first, earliest), run.as_of), run.variant, run.requests)


def describe_requests(requests: Iterable[datetime]) -> dict[str, Any]:
    """Return the extra of the asset event that asks for a retraining; `resolve_run` reads it."""
    instants = sorted(requests)
    return {"requests": [instant.isoformat() for instant in instants], "as_of": instants[-1].isoformat()}


def _resolve_range(schedule: str | None, params: Mapping[str, Any], variant: str) -> Run:
    """Resolve days given by a person: every night that begins on one of them, both ends included."""
    first, last = _parse("param first", params.get("first") or params["last"]), _parse("param last", params["last"])
    if schedule is None:
        return Run(last, first, variant)
    as_of = last_tick_at_or_before(schedule, last + timedelta(days=1) - _MOMENT)
    first_night = first_tick_at_or_after(schedule, first)
    if first_night > as_of:
        found = f"{params.get('first')} to {params['last']}"
        raise _refuse("params first and last", f"days with at least one tick of `{schedule}` (UTC)", found)
    return Run(as_of, first_night, variant)


def _requests_of(event: Mapping[str, Any]) -> Sequence[Any]:
    requests = event.get("requests") or []
    if not isinstance(requests, list):
        raise _refuse("event's requests", "a list of instants", repr(requests))
    return requests


def _check_night(schedule: str | None, instant: datetime, where: str) -> datetime:
    if schedule is None:
        return instant
    before = last_tick_at_or_before(schedule, instant)
    if before != instant:
        after = next_tick(schedule, instant)
        expected = f"an instant of the schedule `{schedule}` (UTC), such as {before.isoformat()} or {after.isoformat()}"
        raise _refuse(where, expected, instant.isoformat())
    return instant


def _parse(where: str, text: object) -> datetime:
    try:
        return parse_instant(str(text))
    except ValueError:
        raise _refuse(where, "an ISO 8601 date or date and time", repr(text)) from None


def _parse_variant(variant: object) -> str:
    if not isinstance(variant, str) or re.fullmatch(VARIANT_PATTERN, variant) is None:
        raise _refuse("param variant", f"a name like {VARIANT_PATTERN}", repr(variant))
    return variant


def _refuse(where: str, expected: str, found: str) -> NightloopError:
    remedy = 'trigger the DAG with the night in its form, or with --conf \'{"as_of": "2025-01-05T02:00:00Z"}\''
    return NightloopError(Fault(where, expected, found, remedy))
