"""A restaurant: what its guests book and pay, as files that land, and its loop."""

import contextlib
import importlib
import io
import os
import random
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from nightloop.dataset import DatasetRef
from nightloop.engine.session import open_session
from nightloop.run import EXIT_INPUT, MAIN_VARIANT, Replay, format_night
from nightloop.stores.lake.lake import Lake
from nightloop.stores.ledger.ledger import Ledger
from tests.loop import Loop, job_environment

FOLDERS = Path(__file__).with_name("folders")
USE_CASE = "visit_value"
NIGHTS = tuple(datetime(2025, 1, 5, 2, tzinfo=UTC) + number * timedelta(days=1) for number in range(30))
VISITS_HEADER = "visit_id,visit_time,guests,discount,place,is_cancelled"
VISITS_A_NIGHT = 60
_ANY_TOKEN = 10**15
_PLACES = ("bar", "garden", "hall")


@dataclass
class Restaurant:
    """One state folder with the restaurant's loop on it."""

    loop: Loop

    def land(self, source: str, name: str, content: str | bytes, arrived_at: datetime) -> Path:
        """Put a whole file into the landing zone, arrived at an instant."""
        path = Path(self.loop.settings.landing) / source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        os.utime(path, (arrived_at.timestamp(),) * 2)
        return path

    def land_visits(self, night: datetime, *lines: str, name: str = "") -> Path:
        """Land a CSV of visits, five minutes before the night begins."""
        content = "\n".join((VISITS_HEADER, *lines)) + "\n"
        return self.land("visits", name or f"{format_night(night)}.csv", content, night - timedelta(minutes=5))

    def land_nights(self, nights: tuple[datetime, ...] = NIGHTS) -> None:
        """Land the whole, healthy feed of both sources."""
        for night in nights:
            self.land_visits(night, *visits_of(night))
            bills = "\n".join(("visit_id,paid_at,amount", *bills_of(night - timedelta(days=1)))) + "\n"
            self.land("bills", f"{format_night(night)}.csv", bills, night - timedelta(minutes=5))

    def attempt(
        self, job: str, scope: str, night: datetime, kind: str = "source", variant: str = MAIN_VARIANT
    ) -> tuple[int, str]:
        """Run one job in this process; return its exit code and all it said."""
        said = io.StringIO()
        arguments = self.loop.arguments(self.loop.home / "result", scope, kind, night, None, {})
        argv = [*arguments, f"--variant={variant}"]
        with job_environment(self.loop.environment), contextlib.redirect_stdout(said):
            code = importlib.import_module(f"jobs.{job}").main(argv)
        return code, said.getvalue()

    def take_in(self, night: datetime, source: str = "visits") -> dict[str, int]:
        """Land and clean one night; return what became of the rows."""
        for job in ("land_source", "clean_source"):
            result = self.loop.run(job, source, "source", night)
        return dict(result.counts)

    def refuse(self, night: datetime, source: str = "visits") -> str:
        """Land and clean a night that must be refused with an input error; return what the error says."""
        for job in ("land_source", "clean_source"):
            code, said = self.attempt(job, source, night)
            if code:
                break
        assert code == EXIT_INPUT, f"{job} ended with {code}:\n{said[-3000:]}"
        assert "Traceback" not in said, said[-3000:]
        return said[said.rindex("ERROR ") :]

    def rows(self, layer: str, source: str = "visits") -> pd.DataFrame:
        """Return a table of the lake; empty where it was never written."""
        ref = DatasetRef(layer, source)  # type: ignore[arg-type]
        if not Path(self.loop.settings.lake, ref.path, "_delta_log").exists():
            return pd.DataFrame()
        return self.loop.rows(ref)

    def features(self) -> pd.DataFrame:
        """Return the features of the one version that was built."""
        (table,) = Path(self.loop.settings.lake, "features", USE_CASE).iterdir()
        return self.loop.rows(DatasetRef("features", USE_CASE, table.name))

    def rules(self, source: str = "visits") -> dict[int, list[str]]:
        """Return row of the file → rules that set it aside."""
        aside = self.rows("quarantine", source)
        return {} if aside.empty else {int(row["_row"]): list(row["rules"]) for _, row in aside.iterrows()}

    def checks(self, night: datetime, source: str = "visits") -> dict[str, Any]:
        """Return the outcome of every check of a night, by name."""
        ledger = Ledger.open(self.loop.settings.ledger_url)
        found = {row.check.name: row.check.outcome for row in ledger.checks(source, night, night)}
        ledger.close()
        return found

    def publish_nothing(self, ref: DatasetRef, night: datetime) -> None:
        """Publish no row for a night, as a job with a wrong filter would."""
        with open_session(self.loop.remote, str(uuid.uuid4())) as spark:
            lake = Lake(spark, self.loop.settings.lake)
            lake.publish(lake.read(ref).where("false"), ref, Replay(ref.owner, (night,)), _ANY_TOKEN)


def visits_of(night: datetime) -> list[str]:
    """Return the bookings that a night receives, for the day that follows; every fifth night corrects one."""
    draw = random.Random(format_night(night))
    lines = []
    for number in range(VISITS_A_NIGHT):
        when = night + timedelta(minutes=30 + 23 * number)
        discount = f"{draw.uniform(0, 0.3):.3f}" if draw.random() < 0.8 else ""
        lines.append(f"{_id(night, number)},{_text(when)},{draw.randint(1, 8)},{discount},{draw.choice(_PLACES)},false")
    lines.append(lines[3])  # sent twice
    lines.append(lines[4].replace(",false", ",true") if night.day % 5 == 0 else f"bad,{_text(night)},none,,bar,false")
    return lines


def bills_of(night: datetime) -> list[str]:
    """Return what the visits booked in a night paid."""
    draw = random.Random(f"bills {format_night(night)}")
    lines = []
    for line in visits_of(night)[:VISITS_A_NIGHT]:
        visit, when, guests, *_ = line.split(",")
        lines.append(f"{visit},{when},{12 * int(guests) + draw.uniform(-15, 15):.2f}")
    return lines


def _id(night: datetime, number: int) -> str:
    return f"V{night:%m%d}-{number:03d}"


def _text(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
