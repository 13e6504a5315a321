"""What `land_source` asks before it reads: is a column personal that nobody declared, and which key is a night's."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightloop.etl.contract import FileSchema
from nightloop.etl.read import RawFile
from nightloop.fault import NightloopError
from nightloop.folders.loading import load_source
from nightloop.folders.source import Source
from nightloop.loop.night.received import group_by_key, keys_by_night, record_keys, scan_files
from nightloop.privacy.keyed import key_id
from nightloop.run import Replay
from nightloop.settings import CHECKOUT
from nightloop.stores.keys import KeyRing
from nightloop.stores.landing.landing import LandedFile
from nightloop.stores.ledger import ledger

NIGHTS = [datetime(2025, 1, day, 2, tzinfo=UTC) for day in (1, 2)]
OLD, NEW = b"o" * 32, b"n" * 32


def make_file(path: Path, night: datetime = NIGHTS[0]) -> RawFile:
    return RawFile(str(path), path.name, path.name, night, night, night, "arrival", FileSchema(path.name, ()))


def make_source(**changes: object) -> Source:
    source = load_source("repayments", (CHECKOUT / "include",))
    return source.model_copy(update=changes)


def test_undeclared_address_stops_the_load_and_is_not_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("application_id,contact\n" + "".join(f"A{n},bo{n}@x.example\n" for n in range(9)))
    landed = LandedFile(path.name, str(path), path.stat().st_size, NIGHTS[0])
    with pytest.raises(NightloopError, match="column contact of repayments") as raised:
        scan_files(make_source(), [landed])
    assert "e-mail address" in str(raised.value)
    assert "ignored_columns" in str(raised.value)
    assert "bo1" not in str(raised.value)
    scan_files(make_source(ignored_columns=("contact",)), [landed])
    scan_files(make_source(not_pii={"contact": "role accounts"}), [landed])


def test_night_keeps_the_key_of_its_first_load(tmp_path: Path) -> None:
    ledger.migrate(f"sqlite:///{tmp_path}/ledger.db")
    opened = ledger.Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    token = opened.draw_token(Replay("repayments", tuple(NIGHTS)), "land_source")
    first, second = (make_file(tmp_path / f"{night.day}.csv", night) for night in NIGHTS)
    record_keys(opened, "repayments", "main", token, [(OLD, [first])])
    recorded = keys_by_night(opened, "repayments", "main")
    assert recorded == {NIGHTS[0]: key_id(OLD)}
    assert group_by_key([first, second], recorded, KeyRing(NEW, (OLD,))) == [(OLD, [first]), (NEW, [second])]
    with pytest.raises(NightloopError, match="no such key"):
        group_by_key([first], recorded, KeyRing(NEW))
    opened.close()
