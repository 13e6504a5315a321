"""The encoder says the same in NumPy and in ONNX, whatever it is shown."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nightloop.artifact import score_table
from nightloop.training.encoder import Encoder, fit_encoder
from nightloop.training.graph import Graph

NUMBERS = st.one_of(
    st.none(), st.floats(width=64), st.floats(-1e3, 1e3), st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0])
)
TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "b", "ß", "a "]), st.text(max_size=4))


def make_table(numbers: list[float | None], texts: list[str | None]) -> pa.Table:
    return pa.table({"amount": pa.array(numbers, pa.float64()), "place": pa.array(texts, pa.string())})


def run_encoder(encoder: Encoder, table: pa.Table) -> np.ndarray:
    graph = Graph()
    matrix = encoder.add_to(graph)
    return score_table(graph.to_bytes(matrix, encoder.layout.width + 2), table)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    fitted=st.lists(st.tuples(NUMBERS, TEXTS), min_size=1, max_size=30),
    shown=st.lists(st.tuples(NUMBERS, TEXTS), min_size=1, max_size=30),
    is_scaled=st.booleans(),
)
@example(fitted=[(0.0, None), (0.0078125, None)], shown=[(1.3e36, None)], is_scaled=True)
@example(fitted=[(-3e38, None)], shown=[(3e38, None)], is_scaled=True)
@example(fitted=[(-3e38, None), (-2e38, None)], shown=[(3e38, None)], is_scaled=True)
def test_onnx_encodes_as_numpy(
    fitted: list[tuple[float | None, str | None]], shown: list[tuple[float | None, str | None]], is_scaled: bool
) -> None:
    encoder = fit_encoder(
        make_table(*zip(*fitted, strict=True)), ["amount"], ["place"], min_count=1, is_scaled=is_scaled
    )
    table = make_table(*zip(*shown, strict=True))
    found = run_encoder(encoder, table)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, encoder.transform(table), rtol=1e-5, atol=1e-5)


def test_skewed_numbers_encode_to_the_same_bits() -> None:
    amounts = np.random.default_rng(0).lognormal(0, 3, 50_000)
    table = make_table([*amounts.tolist()], ["a"] * len(amounts))
    encoder = fit_encoder(table, ["amount"], ["place"])
    assert encoder.logged.all()
    np.testing.assert_array_equal(run_encoder(encoder, table), encoder.transform(table))


def test_missing_numbers_take_the_median_and_a_flag() -> None:
    encoder = fit_encoder(make_table([1.0, 3.0, None, 5.0], ["a"] * 4), ["amount"], [], is_scaled=False)
    encoded = encoder.transform(make_table([None, 2.0, math.inf], ["a"] * 3))
    assert encoded.tolist() == [[3.0, 1.0], [2.0, 0.0], [3.0, 1.0]]


def test_rare_unknown_and_missing_categories_share_code_zero() -> None:
    encoder = fit_encoder(make_table([0.0] * 5, ["a", "a", "b", "b", "rare"]), [], ["place"], min_count=2)
    assert encoder.transform(make_table([0.0] * 5, ["a", "b", "rare", "new", None])).ravel().tolist() == [1, 2, 0, 0, 0]
    assert encoder.layout.cardinalities == (3,)


def test_nothing_outside_the_fit_window_is_learned() -> None:
    fit = make_table([1.0, 2.0, 3.0], ["a", "a", "a"])
    alone = fit_encoder(fit, ["amount"], ["place"], min_count=1)
    assert alone.means.tolist() == [2.0]
    assert alone.vocabularies == (("a",),)


def test_a_constant_column_says_nothing_even_when_it_changes_later() -> None:
    encoder = fit_encoder(make_table([7.0] * 4, ["a"] * 4), ["amount"], [])
    assert encoder.transform(make_table([7.0, 900.0], ["a", "a"])).tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize(
    "column",
    [pytest.param(pa.array([True, False, None]), id="boolean"), pytest.param(pa.array([1, 0, None]), id="integer")],
)
def test_other_number_types_encode_as_numbers(column: pa.Array) -> None:
    encoder = fit_encoder(pa.table({"flag": column}), ["flag"], [], is_scaled=False)
    assert encoder.transform(pa.table({"flag": column}))[:2, 0].tolist() == [1.0, 0.0]
