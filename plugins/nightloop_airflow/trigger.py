"""Wait in the triggerer, at the cost of one look now and then, until nights are closed or files have arrived."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from nightloop.fault import TransientError
from nightloop.run import parse_instant
from nightloop.settings import Settings

log = logging.getLogger(__name__)


class NightsClosedTrigger(BaseTrigger):
    """Fire once every given night is closed in the ledger, or at the deadline with those that are not.

    Args:
        nights: source → as_of of the night to wait for, ISO 8601.
        deadline: when to give up, ISO 8601.
        poll_seconds: time between two looks at the ledger, whose address is read from the environment, not stored here.
    """

    def __init__(self, nights: Mapping[str, str], deadline: str, poll_seconds: float = 1.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.nights = dict(nights)
        self.deadline = deadline
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        kwargs = {"nights": self.nights, "deadline": self.deadline, "poll_seconds": self.poll_seconds}
        return f"{type(self).__module__}.{type(self).__qualname__}", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        # in a thread: all triggers share one loop, which a look at a database would hold up
        while open_nights := await asyncio.to_thread(find_open_nights, self.nights):
            if _has_passed(self.deadline):
                break
            await asyncio.sleep(self.poll_seconds)
        yield TriggerEvent(open_nights)  # type: ignore[no-untyped-call]


class FilesArrivedTrigger(BaseTrigger):
    """Fire once a source's night has its files, or at the deadline, with the number of files there are.

    Args:
        source: name of the source's folder.
        night: as_of of the night, ISO 8601.
        files: how many files the night takes at least.
        deadline: when to give up, ISO 8601.
        poll_seconds: time between two looks at the landing zone.
    """

    def __init__(self, source: str, night: str, files: int, deadline: str, poll_seconds: float = 15.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.source = source
        self.night = night
        self.files = files
        self.deadline = deadline
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        names = ("source", "night", "files", "deadline", "poll_seconds")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        while (found := await asyncio.to_thread(count_files, self.source, self.night)) < self.files:
            if _has_passed(self.deadline):
                break
            await asyncio.sleep(self.poll_seconds)
        yield TriggerEvent(found)  # type: ignore[no-untyped-call]


def count_files(source: str, night: str) -> int:
    """Return how many whole files a night could take in now; 0 while the landing zone or the ledger does not answer."""
    from nightloop.folders.loading import load_source
    from nightloop.loop.night.arrived import look_at_landing
    from nightloop.stores.ledger.ledger import Ledger

    settings = Settings.from_environment()
    try:
        ledger = Ledger.open(settings.ledger_url)
        try:
            arrived = look_at_landing(load_source(source, settings.folders), ledger, settings.landing)
            return arrived.count_ready(parse_instant(night))
        finally:
            ledger.close()
    except TransientError as error:
        log.warning("%s", error)
        return 0


def find_open_nights(nights: Mapping[str, str]) -> dict[str, str]:
    """Return those of the nights (source → as_of) that the ledger does not hold as closed."""
    from nightloop.stores.ledger.ledger import Ledger

    ledger = Ledger.open(Settings.from_environment().ledger_url)
    try:
        return {source: night for source, night in nights.items() if not ledger.is_closed(source, parse_instant(night))}
    finally:
        ledger.close()


def _has_passed(deadline: str) -> bool:
    return datetime.now(UTC) >= parse_instant(deadline)
