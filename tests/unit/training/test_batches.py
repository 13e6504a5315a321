"""An epoch's batches hold every row once, shuffled, and reach into a part of a large table at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightloop.training.net_training import draw_batches

POOL = 64 * 4_096


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 3 * POOL), st.integers(100, 5_000), st.integers(0, 9))
def test_every_row_comes_once_and_only_the_last_batch_is_smaller(rows: int, batch: int, seed: int) -> None:
    batches = list(draw_batches(rows, batch, np.random.default_rng(seed)))
    assert {len(places) for places in batches[:-1]} <= {batch}
    assert 0 < len(batches[-1]) <= batch
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(rows))


def test_a_seed_draws_the_same_and_another_otherwise() -> None:
    first, same, other = (np.concatenate(list(draw_batches(10_000, 128, np.random.default_rng(seed))))
                          for seed in (1, 1, 2))  # fmt: skip
    assert (first == same).all()
    assert (first != other).any()


@pytest.mark.parametrize("rows", [POOL, 5 * POOL])
def test_a_pool_is_shuffled_whole_and_no_more_than_it_is_in_reach(rows: int) -> None:
    seen = np.concatenate(list(draw_batches(rows, 1024, np.random.default_rng(0))))[:POOL]
    assert len(np.unique(seen // 4_096)) <= 64
    assert abs(np.corrcoef(seen, np.arange(POOL))[0, 1]) < 0.01
    assert np.abs(np.diff(seen)).mean() > rows / 8, "neighbours in a batch come from anywhere"
