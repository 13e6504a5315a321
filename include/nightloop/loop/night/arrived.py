"""What has arrived for a source's nights: landing zone, manifest and closed nights brought together.

Light: the triggerer asks this while a night waits for its files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial

from nightloop.etl.arrivals import HISTORY, Arrival, Assignment, Calendar, Manifest, assign_files
from nightloop.folders.schedule import first_tick_at_or_after, next_tick, previous_tick
from nightloop.folders.source import Source
from nightloop.run import MAIN_VARIANT
from nightloop.stores.landing.landing import LandedFile, list_files
from nightloop.stores.ledger.ledger import Ledger
from nightloop.stores.ledger.rows import FileRow

_FAR = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Arrived:
    """What lies in the landing zone, what was recorded of it, and which nights are closed."""

    source: Source
    listing: Mapping[Arrival, LandedFile]
    recorded: Sequence[FileRow]
    closed: frozenset[datetime]

    @cached_property
    def manifest(self) -> Manifest:
        return Manifest(
            {row.checksum: row.as_of for row in self.recorded},
            {arrival_of(row): row.checksum for row in self.recorded},
        )

    @cached_property
    def calendar(self) -> Calendar:
        schedule = self.source.schedule
        return Calendar(*(partial(find, schedule) for find in (first_tick_at_or_after, next_tick, previous_tick)))

    def claims(self, nights: Sequence[datetime]) -> list[Assignment]:
        """Return the files that no run has recorded and that these nights take."""
        if not nights:
            return []
        return assign_files(self.listing, self.manifest, self.closed, self.calendar, nights, self.source.known_at)

    def count_ready(self, night: datetime) -> int:
        """Return how many files a night could take in now: recorded ones, and whole ones that nobody is writing."""
        recorded = sum(row.as_of == night for row in self.recorded)
        return recorded + sum(self.listing[claim.arrival].is_settled for claim in self.claims([night]))


def arrival_of(row: FileRow) -> Arrival:
    """Return the file that a row of the manifest stands for."""
    return Arrival(row.path, row.size, row.arrived_at)


def look_at_landing(source: Source, ledger: Ledger, landing: str, variant: str = MAIN_VARIANT) -> Arrived:
    """List a source's files and read what the ledger knows of them; only the main variant has a manifest."""
    files = list_files(source.uri, landing, source.success_marker)
    return Arrived(
        source,
        {Arrival(file.path, file.size, file.arrived_at): file for file in files},
        ledger.files(source.name, HISTORY, _FAR) if variant == MAIN_VARIANT else [],
        frozenset(ledger.closed_nights(source.name, variant)),
    )
