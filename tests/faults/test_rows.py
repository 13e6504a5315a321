"""Hostile rows: each is typed or set aside with its rule, the job lives, and the counts add up."""

import math
from datetime import datetime, timedelta

import pytest

from nightloop.dataset import DatasetRef
from nightloop.fault import NightloopError
from tests.faults.restaurant import NIGHTS, VISITS_HEADER, Restaurant

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("error:::(nightloop|jobs)"),
]
NIGHT = NIGHTS[0]
GOOD = "V1,2025-01-05T12:00:00Z,2,0.1,bar,false"

HOSTILE = {
    "ragged: a field too few": ("V2,2025-01-05T12:00:00Z,2,0.1,bar", ["corrupt"]),
    "ragged: a field too many": ("V2,2025-01-05T12:00:00Z,2,0.1,bar,false,more", ["corrupt"]),
    "text in an int": ("V2,2025-01-05T12:00:00Z,12x,0.1,bar,false", ["type:guests"]),
    "an int beyond its type": ("V2,2025-01-05T12:00:00Z,99999999999,0.1,bar,false", ["type:guests"]),
    "a null key": (",2025-01-05T12:00:00Z,2,0.1,bar,false", ["required:visit_id"]),
    "NaN": ("V2,2025-01-05T12:00:00Z,2,NaN,bar,false", ["type:discount"]),
    "infinity": ("V2,2025-01-05T12:00:00Z,2,-Infinity,bar,false", ["type:discount"]),
    "beyond a double": ("V2,2025-01-05T12:00:00Z,2,1e999,bar,false", ["type:discount"]),
    "no day of the calendar": ("V2,2025-02-29T12:00:00Z,2,0.1,bar,false", ["type:visit_time"]),
    "a year before 1900": (
        "V2,1815-06-18T12:00:00Z,2,0.1,bar,false",
        ["expect_column_values_to_be_between:visit_time"],
    ),
    "a year after 2100": (
        "V2,2525-01-01T12:00:00Z,2,0.1,bar,false",
        ["expect_column_values_to_be_between:visit_time"],
    ),
}
TOLERATED = {
    "the largest double": ("V2,2025-01-05T12:00:00Z,2,1e308,bar,false", "discount", 1e308),
    "minus zero": ("V2,2025-01-05T12:00:00Z,2,-0.0,bar,false", "discount", 0.0),
    "a leap day": ("V2,2024-02-29T12:00:00Z,2,0.1,bar,false", "visit_time", "2024-02-29T12:00:00"),
    "the last microsecond": (
        "V2,2025-01-05T23:59:59.999999Z,2,0.1,bar,false",
        "visit_time",
        "2025-01-05T23:59:59.999999",
    ),
    "an hour that summer time skips": ("V2,2025-03-30T02:30:00Z,2,0.1,bar,false", "visit_time", "2025-03-30T02:30:00"),
    "the offset of winter": ("V2,2025-10-26T02:30:00+01:00,2,0.1,bar,false", "visit_time", "2025-10-26T01:30:00"),
    "the offset of summer": ("V2,2025-10-26T02:30:00+02:00,2,0.1,bar,false", "visit_time", "2025-10-26T00:30:00"),
    "emoji": ("🍝👩‍🍳,2025-01-05T12:00:00Z,2,0.1,bar,false", "visit_id", "🍝👩‍🍳"),
    "a letter that looks like another": ("V2,2025-01-05T12:00:00Z,2,0.1,b\u0430r,false", "place", "b\u0430r"),
    "a line break in quotes": ('V2,2025-01-05T12:00:00Z,2,0.1,"bar\nupstairs",false', "place", "bar\nupstairs"),
    "quotes in quotes": ('V2,2025-01-05T12:00:00Z,2,0.1,"the ""bar""",false', "place", 'the "bar"'),
    "HTML and SQL": ("V2,2025-01-05T12:00:00Z,2,0.1,<script>'; DROP TABLE x,false", "place", "<script>'; DROP TABLE x"),
}


def test_every_hostile_row_is_set_aside_with_its_rule(restaurant: Restaurant) -> None:
    restaurant.land_visits(
        NIGHT, *[GOOD.replace("V1", f"G{n}") for n in range(20)], *(line for line, _ in HOSTILE.values())
    )
    counts = restaurant.take_in(NIGHT)
    assert (counts["received"], counts["good"], counts["quarantined"]) == (20 + len(HOSTILE), 20, len(HOSTILE))
    expected = dict(enumerate((rules for _, rules in HOSTILE.values()), start=21))
    assert restaurant.rules() == expected


def test_every_strange_row_is_kept_as_it_was_meant(restaurant: Restaurant) -> None:
    for number, (line, _, _) in enumerate(TOLERATED.values()):
        restaurant.land_visits(NIGHT, line, name=f"{number:02d}.csv")
    lines = [line.replace("V2", f"V{number}") for number, (line, _, _) in enumerate(TOLERATED.values())]
    for number, line in enumerate(lines):
        restaurant.land_visits(NIGHT, line, name=f"{number:02d}.csv")
    counts = restaurant.take_in(NIGHT)
    assert counts["good"] == counts["received"] == len(TOLERATED)
    found = {row["_file"]: row for _, row in restaurant.rows("clean").iterrows()}
    for number, (name, (_, column, value)) in enumerate(TOLERATED.items()):
        seen = found[f"{number:02d}.csv"][column]
        if isinstance(seen, datetime):
            seen = seen.tz_convert("UTC").tz_localize(None).isoformat()
        assert seen == value, name
    assert math.copysign(1, found["01.csv"]["discount"]) in (1.0, -1.0)


def test_bytes_that_are_no_text_harm_their_own_row_only(restaurant: Restaurant) -> None:
    latin = GOOD.replace("V1", "V2").replace("bar", "café").encode("latin-1")
    nul = GOOD.replace("V1", "V3").replace("bar", "b\0r").encode()
    content = b"\xef\xbb\xbf" + VISITS_HEADER.encode() + b"\n" + GOOD.encode() + b"\n" + latin + b"\n" + nul + b"\n"
    restaurant.land("visits", "bytes.csv", content, NIGHT - timedelta(minutes=5))
    counts = restaurant.take_in(NIGHT)
    assert counts["received"] == counts["good"] + counts["quarantined"] == 3
    good = restaurant.rows("clean").set_index("visit_id")["place"].to_dict()
    assert good["V1"] == "bar", "a byte order mark is no part of the first column's name"


def test_a_field_of_ten_megabytes(restaurant: Restaurant) -> None:
    big = "x" * 10_000_000
    restaurant.land_visits(NIGHT, GOOD, GOOD.replace("V1", "V2").replace("bar", big), GOOD.replace("V1", "V3"))
    counts = restaurant.take_in(NIGHT)
    assert counts["received"] == counts["good"] == 3
    assert restaurant.rows("clean").set_index("visit_id")["place"].str.len().to_dict() == {
        "V1": 3,
        "V2": len(big),
        "V3": 3,
    }


def test_duplicate_keys_are_settled_by_one_rule(restaurant: Restaurant) -> None:
    """In one file the last line wins, in two the later arrival; what repeats a version is a duplicate."""
    other = GOOD.replace(",2,", ",5,")
    restaurant.land_visits(NIGHT, GOOD, GOOD, other, name="a.csv")
    restaurant.land("visits", "b.csv", f"{VISITS_HEADER}\n{GOOD}\n", NIGHT - timedelta(minutes=1))
    counts = restaurant.take_in(NIGHT)
    assert counts["received"] == 4
    assert counts["received"] == sum(counts[name] for name in ("good", "quarantined", "duplicate", "superseded"))
    versions = restaurant.rows("clean").sort_values("known_at")["guests"].tolist()
    assert versions == [5, 2]


def test_the_same_content_under_another_name_is_loaded_once(restaurant: Restaurant) -> None:
    restaurant.land_visits(NIGHT, GOOD, name="first.csv")
    restaurant.land_visits(NIGHT, GOOD, name="second.csv")
    assert restaurant.take_in(NIGHT)["received"] == 1
    assert restaurant.checks(NIGHT)["skipped_files"] == "warn"
    restaurant.land_visits(NIGHTS[1], GOOD, name="third.csv")
    assert restaurant.take_in(NIGHTS[1])["received"] == 0


@pytest.mark.parametrize(
    ("bad", "is_refused"),
    [
        pytest.param(9, False, id="just below the budget"),
        pytest.param(10, False, id="at the budget"),
        pytest.param(11, True, id="above the budget"),
    ],
)
def test_the_budget_is_exact(restaurant: Restaurant, bad: int, *, is_refused: bool) -> None:
    lines = [f"V{number},2025-01-05T12:00:00Z,{'x' if number < bad else 2},0.1,bar,false" for number in range(20)]
    restaurant.land_visits(NIGHT, *lines)
    if is_refused:
        assert "at most 10 rows, found 11 of 20" in restaurant.refuse(NIGHT)
        assert restaurant.rows("clean").empty
    else:
        assert restaurant.take_in(NIGHT)["good"] == 20 - bad
    assert len(restaurant.rules()) == bad, "quarantine is published either way"


def test_the_empty_night_and_the_night_without_files(restaurant: Restaurant) -> None:
    restaurant.land_visits(NIGHT)
    assert restaurant.take_in(NIGHT)["received"] == 0
    restaurant.land_visits(NIGHTS[1], GOOD)
    assert restaurant.take_in(NIGHTS[1])["good"] == 1
    before = restaurant.rows("clean")
    assert restaurant.take_in(NIGHTS[2])["received"] == 0
    assert restaurant.checks(NIGHTS[2])["files"] == "warn"
    assert restaurant.rows("clean").equals(before), "a night without files touches no other"


def test_a_late_file_belongs_to_the_night_after_the_closed_one(restaurant: Restaurant) -> None:
    restaurant.land_visits(NIGHT, GOOD)
    restaurant.take_in(NIGHT)
    before = restaurant.rows("clean")
    late = GOOD.replace("V1", "V2")
    restaurant.land("visits", "late.csv", f"{VISITS_HEADER}\n{late}\n", NIGHT - timedelta(minutes=1))
    assert restaurant.take_in(NIGHT)["received"] == 1
    assert restaurant.rows("clean").equals(before)
    assert restaurant.take_in(NIGHTS[1])["received"] == 1
    rows = restaurant.rows("clean").set_index("visit_id")
    assert rows.loc["V2", "night"] != rows.loc["V1", "night"]
    assert rows.loc["V2", "known_at"] > rows.loc["V1", "known_at"]
    assert restaurant.checks(NIGHTS[1])["late_files"] == "warn"


def test_an_empty_frame_cannot_delete_a_night(restaurant: Restaurant) -> None:
    """Delta's `replaceWhere` would: the lake refuses it, with the counts."""
    restaurant.land_visits(NIGHT, GOOD)
    restaurant.take_in(NIGHT)
    assert not restaurant.rows("clean").empty
    with pytest.raises(NightloopError, match="at least 1 rows, found 0"):
        restaurant.publish_nothing(DatasetRef("clean", "visits"), NIGHT)
    assert not restaurant.rows("clean").empty
