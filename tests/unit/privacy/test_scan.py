"""Columns that look like personal data are found, and numbers, instants and categories are not."""

import csv
import gzip
import io
import os
import random
from itertools import islice
from pathlib import Path

import pytest

from nightloop.privacy.scan import scan_columns
from nightloop.settings import CHECKOUT

SHARED = Path(os.environ.get("NIGHTLOOP_SHARED_DATA", CHECKOUT.parent / "shared" / "data"))
DRAW = random.Random(1)
IBANS = ["GB82WEST12345698765432", "DE89370400440532013000", "FR1420041010050500013M02606"]


def digits(count: int, first: str = "") -> str:
    return first + "".join(DRAW.choice("0123456789") for _ in range(count - len(first)))


def card(first: str) -> str:
    """Return 16 digits whose last one is the check digit of ISO/IEC 7812-1."""
    body = digits(15, first)
    for last in "0123456789":
        doubled = [
            sum(divmod(2 * int(d), 10)) if place % 2 else int(d) for place, d in enumerate(reversed(body + last))
        ]
        if sum(doubled) % 10 == 0:
            return body + last
    raise AssertionError


def in_fours(number: str) -> str:
    return " ".join(number[start : start + 4] for start in range(0, len(number), 4))


def scanned(values: list[str | None], name: str = "column_a") -> list[tuple[str, str]]:
    return [(found.column, found.kind) for found in scan_columns({name: values}, ())]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        pytest.param([f"a{n}@mail.example" for n in range(9)], "e-mail address", id="e-mail"),
        pytest.param(
            [*["good"] * 40, *[f"ask bo{n}@x.example, please" for n in range(5)]], "e-mail address", id="text"
        ),
        pytest.param([f"+1-555-{digits(7)}" for _ in range(9)], "phone number", id="international phone"),
        pytest.param([f"({digits(3)}) {digits(3)}-{digits(4)}" for _ in range(9)], "phone number", id="American phone"),
        pytest.param([f"0{digits(3)} {digits(3)} {digits(4)}" for _ in range(9)], "phone number", id="British phone"),
        pytest.param([card("4") for _ in range(9)], "card number", id="card"),
        pytest.param([in_fours(card("5")) for _ in range(9)], "card number", id="card in fours"),
        pytest.param([f"1{digits(2)}-{DRAW.randint(10, 99)}-4711" for _ in range(9)], "national id", id="US"),
        pytest.param(["AB123456C", "CE 12 34 56 A", "HJ654321D"], "national id", id="UK"),
        pytest.param(["12345678Z", "00000000T", "87654321X"], "national id", id="Spain"),
        pytest.param(IBANS, "national id", id="IBAN"),
    ],
)
def test_personal_data_is_found_among_missing_values(values: list[str | None], kind: str) -> None:
    assert scanned([*values, None, ""]) == [("column_a", kind)]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([digits(16) for _ in range(500)], id="sixteen digits"),
        pytest.param([digits(13) for _ in range(500)], id="thirteen digits"),
        pytest.param([str(1_735_689_600_000_000 + n * 86_400_000_000) for n in range(500)], id="microseconds"),
        pytest.param([str(1_735_689_600_000 + n * 3_600_000) for n in range(500)], id="milliseconds"),
        pytest.param([f"2025-01-{n % 28 + 1:02d} 02:00:00" for n in range(500)], id="timestamps"),
        pytest.param([f"{n % 28 + 1:02d}-01-2025" for n in range(500)], id="days first"),
        pytest.param([f"{n * 3.7:.2f}" for n in range(500)], id="amounts"),
        pytest.param([digits(9) for _ in range(500)], id="nine digits"),
        pytest.param([digits(5) for _ in range(500)], id="postcodes"),
        pytest.param([f"{n % 365}-{n % 24}" for n in range(500)], id="ordinals"),
        pytest.param([f"{DRAW.getrandbits(128):032x}" for _ in range(500)], id="hashes"),
    ],
)
def test_numbers_instants_and_hashes_are_not(values: list[str]) -> None:
    assert scanned(values) == []


def test_a_name_is_evidence_and_a_cleared_column_is_not_looked_at() -> None:
    assert scanned(["N0-1", "N0-2"], "National_ID") == [("National_ID", "national id")]
    assert scanned(["x"], "e-mail") == [("e-mail", "e-mail address")]
    assert scanned([None, ""], "ssn") == []
    assert scan_columns({"email": ["a@b.example"] * 9}, {"email"}) == []


@pytest.mark.data
def test_shared_data_sets_are_free_of_it() -> None:
    files = sorted(SHARED.glob("*/*.csv.gz"))[:6] + sorted(SHARED.glob("lending_club/*/*.csv.gz"))[::12]
    if not files:
        pytest.skip("no shared data")
    for file in files:
        with gzip.open(file, "rb") as stream:
            rows = csv.reader(io.TextIOWrapper(stream, encoding="utf-8"))
            header = next(rows)
            sampled = list(islice(rows, 1000))
        samples = {name: [row[place] for row in sampled] for place, name in enumerate(header) if sampled}
        assert scan_columns(samples, ()) == [], file
