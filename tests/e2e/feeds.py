"""The real feeds of `../shared/data`, landed month by month as they would have arrived."""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nightloop.folders.schedule import previous_tick
from nightloop.settings import CHECKOUT
from nightloop.stores.ledger.ledger import Ledger

SHARED_DATA = Path(os.environ.get("NIGHTLOOP_SHARED_DATA", CHECKOUT.parent / "shared" / "data"))
MONTHLY = "0 0 1 * *"
OUTCOMES = ("good", "quarantined", "duplicate", "superseded")


def needs_feed(name: str) -> pytest.MarkDecorator:
    """Skip where the feed is not on this machine."""
    folder = SHARED_DATA / name
    reason = f"needs the feed in {folder}; NIGHTLOOP_SHARED_DATA names another place"
    return pytest.mark.skipif(not folder.is_dir(), reason=reason)


def first_of(year: int, month: int) -> datetime:
    return datetime(year, month, 1, tzinfo=UTC)


def drop_months(folder: str, landing: Path, nights: Iterable[datetime]) -> None:
    """Land the file of the month before each night, an hour before the night; a month may have none."""
    for night in nights:
        name = f"{previous_tick(MONTHLY, night):%Y-%m}.csv.gz"
        source, target = SHARED_DATA / folder / name, landing / folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            arrived = (night - timedelta(hours=1)).timestamp()
            os.utime(target, (arrived, arrived))


def assert_rows_accounted_for(ledger: Ledger, source: str, first: datetime, last: datetime) -> dict[datetime, int]:
    """Hold received + readmitted = the sum of all outcomes in every night; return what each received."""
    counts: dict[datetime, dict[str, int]] = defaultdict(dict)
    for row in ledger.counts(source, first, last):
        counts[row.as_of][row.job] = row.counts["received"]
        if row.job == "clean_source":
            came = row.counts["received"] + row.counts["readmitted"]
            assert came == sum(row.counts[outcome] for outcome in OUTCOMES), (source, row)
    assert all(night["clean_source"] == night["land_source"] for night in counts.values()), source
    return {night: received["land_source"] for night, received in counts.items()}
