"""Declared knowledge is refused where the rows themselves contradict it."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from nightloop.leakage.availability import describe_rows, measure_later_dates, measure_rewriting
from nightloop.leakage.gate import judge_availability
from nightloop.leakage.params import LeakageParams

Row = tuple[str, float, date | None, datetime, str]


def make_rows(rows: Sequence[Row], known_by: str = "declared") -> pa.Table:
    """Clean rows of loans: id, amount repaid, day of the last payment, known_at, and the night that brought them."""
    names = ("loan_id", "repaid", "paid_on", "known_at", "night")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    columns["known_at"] = pa.array(columns["known_at"], pa.timestamp("us", "UTC"))
    columns["paid_on"] = pa.array(columns["paid_on"], pa.date32())
    places = list(range(len(rows)))
    return pa.table({**columns, "known_by": [known_by] * len(rows), "_file": ["f"] * len(rows), "_row": places})


def day(number: int) -> datetime:
    return datetime(2025, 1, number, tzinfo=UTC)


def later(rows: pa.Table) -> dict[tuple[str, ...], float]:
    return {one.columns: one.value for one in measure_later_dates("loans", describe_rows(rows, ["loan_id"]))}


def rewritten(rows: pa.Table) -> float:
    return measure_rewriting("loans", describe_rows(rows, ["loan_id"])).value


def test_a_payment_after_the_day_it_was_known_on_is_counted() -> None:
    rows = make_rows(
        [
            ("a", 1.0, date(2025, 1, 2), day(1), "20250105T0000Z"),
            ("b", 1.0, date(2025, 1, 1), day(1), "20250105T0000Z"),
            ("c", 1.0, None, day(1), "20250105T0000Z"),
            ("d", 1.0, date(2024, 12, 31), day(1), "20250105T0000Z"),
        ]
    )
    assert later(rows) == {("loans.paid_on",): 0.25}


@pytest.mark.parametrize(
    ("second", "share"),
    [
        pytest.param(("a", 9.0, None, day(1), "20250205T0000Z"), 0.5, id="other content, as old as the first"),
        pytest.param(("a", 1.0, None, day(1), "20250205T0000Z"), 0.0, id="the same content again"),
        pytest.param(("a", 9.0, None, day(20), "20250205T0000Z"), 0.0, id="a correction with its own instant"),
        pytest.param(("a", 9.0, None, day(1), "20250105T0000Z"), 0.0, id="in the same night"),
    ],
)
def test_a_record_changed_back_in_time_is_counted(second: Row, share: float) -> None:
    first = [("a", 1.0, None, day(1), "20250105T0000Z"), ("b", 1.0, None, day(1), "20250105T0000Z")]
    assert rewritten(make_rows([*first, second])) == share


def test_rows_known_by_arrival_are_not_held_to_their_word() -> None:
    rows = make_rows([("a", 1.0, date(2025, 1, 2), day(1), "20250105T0000Z")], known_by="arrival")
    assert later(rows) == {("loans.paid_on",): 0.0}
    assert rewritten(rows) == 0.0


def test_the_refusal_names_source_column_and_readers() -> None:
    rows = make_rows([("a", 1.0, date(2025, 1, 2), day(1), "20250105T0000Z")])
    figures = measure_later_dates("loans", describe_rows(rows, ["loan_id"]))
    (check,) = judge_availability(figures, {"loans": ["repaid", "term"]}, LeakageParams())
    assert (check.name, check.outcome, check.figure) == ("known before it happened: loans.paid_on", "fail", 1.0)
    assert check.detail.endswith("read by repaid, term")
    allowed = LeakageParams(allowed={"loans.paid_on": "the date of the last instalment is agreed at issue"})
    assert judge_availability(figures, {"loans": ["repaid"]}, allowed)[0].outcome == "warn"
