"""A world of people for erasures: random histories in one state folder, and by hand what must be left of it."""

import csv
import gzip
import io
import json
import os
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake

from nightloop.privacy.keyed import hash_text
from nightloop.run import Replay, RunKey, format_night
from nightloop.settings import Settings
from nightloop.stores.ledger.ledger import Ledger
from nightloop.stores.ledger.rows import FileRow, ModelRow
from nightloop.stores.reports import Reports
from nightloop.stores.warehouse.warehouse import Warehouse

NIGHTS = [datetime(2024, month, 1, 2, tzinfo=UTC) for month in range(1, 6)]
HEADERS = {
    "loan_applications": ["application_id", "national_id", "email", "full_name", "loan_amount_usd"],
    "bureau_records": ["national_id", "bureau_score"],
    "repayments": ["application_id", "status_date", "status"],
}
USE_CASE, VERSION = "loan_default", "abc"
Row = dict[str, Any]


@dataclass
class Person:
    """One person: an id of the state, an address, and applications with the night of each."""

    national_id: str
    email: str
    name: str
    applications: dict[str, int]

    @property
    def identifiers(self) -> list[str]:
        return [self.national_id, self.email, *self.applications]


@dataclass
class People:
    """Every row of the world with the person it is about."""

    home: Path
    keys: tuple[bytes, bytes]
    persons: list[Person] = field(default_factory=list)
    rows: dict[str, list[tuple[Person, Row]]] = field(default_factory=lambda: defaultdict(list))
    landed: dict[tuple[str, int], list[tuple[Person, list[str]]]] = field(default_factory=lambda: defaultdict(list))

    def add_history(self, seed: int) -> list[Person]:
        """Draw one to four people with what they did, and return them."""
        draw, new = random.Random(seed), []
        for number in range(draw.randint(1, 4)):
            name = f"h{seed:03d}p{number}"
            nights = {f"APP-{name}-{count}": draw.randrange(len(NIGHTS)) for count in range(draw.randint(1, 3))}
            new.append(Person(f"NID-{name}", f"{name}@mail.example", f"Name {name}", nights))
            self._live(new[-1], draw)
        self.persons += new
        return new

    def _live(self, person: Person, draw: random.Random) -> None:
        hashed = lambda value, night: hash_text(value, self.keys[night >= 3])  # noqa: E731 - the key was rotated then
        for application, night in person.applications.items():
            fields = [application, person.national_id, person.email, person.name, str(draw.randint(1, 99) * 100)]
            own = {"national_id": hashed(person.national_id, night), "email": hashed(person.email, night)}
            content = {"application_id": application, **own, "loan_amount_usd": fields[-1]}
            is_bad = draw.random() < 0.2
            self._arrive(person, "loan_applications", night, fields, content, is_bad=is_bad)
            for later in range(night + 1, len(NIGHTS)):
                if draw.random() < 0.5:
                    status = [application, f"2024-0{later}-28", draw.choice(["current", "late"])]
                    values = dict(zip(HEADERS["repayments"], status, strict=True))
                    self._arrive(person, "repayments", later, status, values, is_bad=draw.random() < 0.1)
            if not is_bad:
                self._decide(person, application, night, own, draw)
        for night in range(len(NIGHTS)):
            if draw.random() < 0.4:
                score = str(draw.randint(300, 850))
                content = {"national_id": hashed(person.national_id, night), "bureau_score": score}
                self._arrive(person, "bureau_records", night, [person.national_id, score], content, is_bad=False)

    def _arrive(
        self, person: Person, source: str, night: int, fields: list[str], content: Row, *, is_bad: bool
    ) -> None:
        lines = self.landed[source, night]
        lines.append((person, fields))
        origin = {
            "_file": f"{night}.csv.gz",
            "_row": len(lines),
            "night": format_night(NIGHTS[night]),
            "variant": "main",
        }
        self.rows[f"raw/{source}"].append((person, {**content, **origin}))
        if is_bad:
            aside = {"rules": ["type:x"], "content": json.dumps(content)}
            self.rows[f"quarantine/{source}"].append((person, {**origin, **aside}))
        else:
            self.rows[f"clean/{source}"].append((person, {**content, **origin}))

    def _decide(self, person: Person, application: str, night: int, own: Row, draw: random.Random) -> None:
        micros = int(NIGHTS[night].timestamp() * 1_000_000)
        key = {"row_id": f"{application}@{micros}", "application_id": application, "decision_time": NIGHTS[night]}
        here = {"night": format_night(NIGHTS[night]), "variant": "main"}
        spine = {"national_id": own["national_id"], "loan_amount_usd": draw.random()}
        self.rows[f"features/{USE_CASE}/{VERSION}"].append((person, {**key, **spine, **here}))
        score = {"score": draw.random(), "decision": 1, "model_version": 1, "feature_version": VERSION}
        self.rows[f"scores/{USE_CASE}"].append((person, {**key, **score, **here}))
        if night + 1 < len(NIGHTS):
            matured = {"night": format_night(NIGHTS[night + 1]), "variant": "main"}
            label = {"cohort": here["night"], "label": float(draw.random() < 0.3), "is_observed": draw.random() < 0.8}
            self.rows[f"labels/{USE_CASE}"].append((person, {**key, **label, **matured}))

    def write(self, settings: Settings, ledger: Ledger, warehouse: Warehouse) -> None:
        """Put everything where the loop would: two versions of each table, files, rows, reports, models."""
        some, row = self.rows["clean/repayments"][0]
        self.rows["clean/forsaken"].append((some, {**row, "_file": "old.csv"}))  # the folder of this source is gone
        for path, rows in self.rows.items():
            table = pa.Table.from_pylist([row for _, row in rows])
            address = f"{settings.lake}/{path}"
            for night in sorted(set(table.column("night").to_pylist())):
                own = table.filter(pc.equal(table.column("night"), night))
                write_deltalake(address, own, mode="append", partition_by=["night", "variant"])
            write_deltalake(
                address, own, mode="overwrite", predicate=f"night = '{night}' AND variant = 'main'"
            )  # a rerun: the night's first files stay behind
        token = ledger.draw_token(Replay(USE_CASE, tuple(NIGHTS)), "load_scores")
        for (source, night), lines in self.landed.items():
            path = Path(settings.landing) / source / f"{night}.csv.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(spell(source, [fields for _, fields in lines]), mtime=0))
            arrived = NIGHTS[night] - timedelta(hours=1)
            os.utime(path, (arrived.timestamp(), arrived.timestamp()))
            row = FileRow(
                path.name, f"sum-{source}-{night}", path.stat().st_size, arrived, arrived, NIGHTS[night], len(lines)
            )
            ledger.record_files(source, [row], token)
        self._load(warehouse, token)
        self._leave_reports(settings, ledger)

    def rescore(self, settings: Settings, person: Person) -> None:
        """Have a run that was under way score a person once more, beside the night's own scores."""
        path = f"scores/{USE_CASE}"
        row = next(row for one, row in self.rows[path] if one is person)
        again = {**row, "variant": "rescored-2"}
        self.rows[path].append((person, again))
        write_deltalake(f"{settings.lake}/{path}", pa.Table.from_pylist([again]), mode="append")

    def _load(self, warehouse: Warehouse, token: int) -> None:
        replay = Replay(USE_CASE, tuple(NIGHTS))
        scores = pa.Table.from_pylist([row for _, row in self.rows[f"scores/{USE_CASE}"]])
        warehouse.replace_scores(replay.run_keys, scores.drop_columns(["application_id", "variant"]), token)
        labels = pa.Table.from_pylist([row for _, row in self.rows[f"labels/{USE_CASE}"]])
        warehouse.replace_outcomes(replay.run_keys, labels.drop_columns(["application_id", "variant"]), token)

    def _leave_reports(self, settings: Settings, ledger: Ledger) -> None:
        some = self.persons[0]
        Reports(settings.reports).write("drift", RunKey(USE_CASE, NIGHTS[-1]), "drift.html", f"<p>{some.email}</p>")
        log = settings.home / "logs" / "spark.log"
        log.parent.mkdir()
        log.write_text(f"before {some.national_id} after\n")
        pins = {"spine_from": NIGHTS[0].isoformat(), "spine_to": NIGHTS[-1].isoformat()}
        for version, cut in enumerate((NIGHTS[0], NIGHTS[-1]), 1):
            model = ModelRow(
                USE_CASE, 0, f"digest-{version}", "file:///m", {}, VERSION, cut, {**pins, "as_of": cut.isoformat()}
            )
            ledger.register_model(model)

    def left(self, path: str, gone: Iterable[Person]) -> list[str]:
        """Return a table's rows without those of some people, each as text."""
        names = {person.national_id for person in gone}
        return sorted(canonical(row) for person, row in self.rows[path] if person.national_id not in names)

    def landed_left(self, source: str, night: int, gone: Iterable[Person]) -> bytes:
        names = {person.national_id for person in gone}
        return spell(
            source, [fields for person, fields in self.landed[source, night] if person.national_id not in names]
        )


def canonical(row: Row) -> str:
    return json.dumps(row, sort_keys=True, default=str)


def read_rows(settings: Settings, path: str) -> list[str]:
    rows = DeltaTable(f"{settings.lake}/{path}").to_pyarrow_table().to_pylist()
    return sorted(canonical(row) for row in rows)


def spell(source: str, lines: Iterable[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([HEADERS[source], *lines])
    return text.getvalue().encode()


def all_identifiers(persons: Iterable[Person], keys: Iterable[bytes]) -> Iterator[str]:
    for person in persons:
        yield from person.identifiers
        yield from (hash_text(value, key) for value in (person.national_id, person.email) for key in keys)
