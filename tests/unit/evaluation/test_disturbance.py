"""Disturbed features differ as said, and in nothing else."""

import numpy as np
import pyarrow as pa

from nightloop.evaluation.disturbance import disturb

ROWS = pa.table(
    {
        "row_id": [str(number) for number in range(1000)],
        "age": pa.array(np.random.default_rng(0).normal(40, 10, 1000), mask=np.arange(1000) % 7 == 0),
        "flag": pa.array([True, False] * 500),
        "place": pa.array(["north", "south", None, "east"] * 250),
    }
)


def test_noise_moves_numbers_a_little_and_keeps_what_is_missing() -> None:
    name, noisy = next(disturb(ROWS, ["age", "flag"], ["place"]))
    before, after = (table.column("age").to_numpy() for table in (ROWS, noisy))
    moved = (after - before)[~np.isnan(before)]
    assert name == "noise"
    assert np.isnan(after).tolist() == np.isnan(before).tolist()
    assert 0.8 < moved.std() / (0.1 * np.nanstd(before)) < 1.2
    changed = sum(
        one != other for one, other in zip(ROWS["place"].to_pylist(), noisy["place"].to_pylist(), strict=True)
    )
    assert 40 < changed < 120
    assert noisy.column("row_id").equals(ROWS.column("row_id"))


def test_each_column_is_left_out_once() -> None:
    _, *rest = disturb(ROWS, ["age", "flag"], ["place"])
    assert [name for name, _ in rest] == ["without age", "without flag", "without place"]
    for name, table in rest:
        column = name.removeprefix("without ")
        assert table.column(column).null_count == table.num_rows
        assert table.schema == ROWS.schema
        assert table.drop_columns([column]).equals(ROWS.drop_columns([column]))


def test_the_same_seed_disturbs_alike() -> None:
    first, second = (next(disturb(ROWS, ["age"], ["place"], seed=3))[1] for _ in range(2))
    assert first.equals(second)
