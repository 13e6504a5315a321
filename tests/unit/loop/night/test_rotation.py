"""A new key parts the joins by hashed columns, and no others."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightloop.folders.loading import load_source, load_use_case
from nightloop.loop.night.received import PII_KEY
from nightloop.loop.night.rotation import describe_broken, list_joins
from nightloop.run import Replay, RunKey
from nightloop.settings import CHECKOUT
from nightloop.stores.ledger import ledger
from nightloop.verdict import Check

FOLDERS = (CHECKOUT / "include",)
NIGHTS = [datetime(2025, month, 1, 2, tzinfo=UTC) for month in (1, 2, 3)]
LOAN = load_use_case("loan_default", FOLDERS)
SOURCES = {name: load_source(name, FOLDERS) for name in LOAN.sources}


def test_only_hashed_columns_are_parted() -> None:
    joins = list_joins(LOAN, SOURCES, {"loan_applications": {"a"}, "bureau_records": {"a", "b"}, "repayments": set()})
    assert sorted((str(join), join.survives) for join in joins) == [
        ("bureau_records: records of bureau_records.national_id", False),
        ("loan_default: loan_applications.national_id = bureau_records.national_id", False),
    ]


@pytest.mark.parametrize(("last", "is_parted"), [(NIGHTS[0], False), (NIGHTS[1], True)], ids=["before", "after"])
def test_nights_after_the_rotation_are_warned_of(tmp_path: Path, last: datetime, is_parted: bool) -> None:
    ledger.migrate(f"sqlite:///{tmp_path}/ledger.db")
    opened = ledger.Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    for name in ("loan_applications", "bureau_records"):
        token = opened.draw_token(Replay(name, tuple(NIGHTS)), "land_source")
        for night, key in zip(NIGHTS, ("old", "new", "new"), strict=True):
            opened.write_checks(RunKey(name, night), token, f"pii/{name}", [Check(PII_KEY, "pass", detail=key)])
    assert bool(describe_broken(LOAN, SOURCES, opened, last)) is is_parted
    opened.close()
