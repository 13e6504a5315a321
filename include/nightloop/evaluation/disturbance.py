"""Features as they are on a bad night: with noise, or with a column that did not come."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

NOISE, WITHOUT = "noise", "without "
_NOISE_SHARE = 0.1


def disturb(
    rows: pa.Table, numeric: Sequence[str], categorical: Sequence[str], seed: int = 0
) -> Iterator[tuple[str, pa.Table]]:
    """Yield the rows under each disturbance, with its name.

    `noise` adds to every number a normal one of a tenth of its column's standard deviation, and takes every tenth
    category from another row; `without <column>` has nulls for one column.
    """
    random = np.random.default_rng(seed)
    noisy = rows
    for name in numeric:
        values = rows.column(name).cast(pa.float64()).to_numpy()
        finite = values[np.isfinite(values)]
        spread = float(finite.std()) if finite.size else 0.0
        moved = values + random.normal(0.0, _NOISE_SHARE, len(values)) * spread
        # NaN is a null again: noise on a missing number is none
        noisy = _replace(noisy, name, pa.array(moved, from_pandas=True))
    for name in categorical:
        places = np.arange(rows.num_rows)
        is_taken = random.random(rows.num_rows) < _NOISE_SHARE
        places[is_taken] = random.integers(0, rows.num_rows, int(is_taken.sum()))
        noisy = _replace(noisy, name, rows.column(name).take(places))
    yield NOISE, noisy
    for name in (*numeric, *categorical):
        kind = rows.schema.field(name).type
        yield f"{WITHOUT}{name}", _replace(rows, name, pa.nulls(rows.num_rows, kind))


def _replace(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, column)
