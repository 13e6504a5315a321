"""Declared knowledge that the rows themselves contradict.

As-of views show nothing known after a decision, so what can be wrong is the word of a source that declares when its
rows were known. Two things give it away: a row that tells of a later day than the one it claims to be known on, and a
second version of a record that claims to be as old as the first though it came in a later night and differs.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nightloop.leakage.figure import Figure

DECLARED = "declared"
EARLY = "known before it happened"
REWRITTEN = "rewritten after the fact"
_PROVENANCE = ("known_at", "known_by", "_file", "_row", "night", "variant")
_DAY_SECONDS = 86_400.0


def describe_rows(batch: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Reduce clean rows that declare their knowledge to hashes and comparisons, a few bytes each.

    Columns: `record`, `content` (hashes), `known` (seconds), `night`, and for each column of dates `later:<column>`:
    whether it lies after `known_at`; a date without a time is compared by its day.
    """
    rows = batch.filter(pc.equal(batch.column("known_by"), DECLARED))
    own = [name for name in rows.column_names if name not in _PROVENANCE]
    known = _seconds(rows.column("known_at"))
    described = {
        "record": _hash(rows, keys),
        "content": _hash(rows, own),
        "known": known,
        "night": rows.column("night").cast(pa.string()),
    }
    for name in own:
        kind = rows.schema.field(name).type
        if pa.types.is_temporal(kind) and not pa.types.is_time(kind):
            is_day = pa.types.is_date(kind)
            bound = np.floor(known / _DAY_SECONDS) * _DAY_SECONDS if is_day else known
            described[f"later:{name}"] = _seconds(rows.column(name)) > bound
    return pa.table(described)


def measure_later_dates(source: str, described: pa.Table) -> list[Figure]:
    """Return for each column of dates the share of rows that tell of a day after the one they were known on."""
    names = [name for name in described.column_names if name.startswith("later:")]
    return [
        Figure(
            EARLY,
            (f"{source}.{name.removeprefix('later:')}",),
            float(np.mean(described.column(name).to_numpy())) if described.num_rows else 0.0,
            "rows whose date lies after the known_at that they declare",
        )
        for name in names
    ]


def measure_rewriting(source: str, described: pa.Table) -> Figure:
    """Return the share of records of which a later night brought another content said to have been known before it.

    A version counts if an earlier night brought the record with other content, though the version claims to have been
    known by then.
    """
    frame = described.select(["record", "content", "known", "night"]).to_pandas()
    frame["came"] = pd.to_datetime(frame["night"], format="%Y%m%dT%H%MZ").astype("datetime64[s]").astype("int64")
    ordered = frame.sort_values(["record", "came", "known"], kind="stable")
    of_record = ordered.groupby("record", sort=False)
    earlier, before = of_record["content"].shift(), of_record["came"].shift()
    is_rewritten = before.notna() & (before < ordered["came"]) & (earlier != ordered["content"])
    is_rewritten &= ordered["known"] <= before
    records = ordered["record"].nunique()
    share = ordered.loc[is_rewritten, "record"].nunique() / records if records else 0.0
    return Figure(REWRITTEN, (f"{source}.known_at",), share, "records that a later night changed back in time")


def _seconds(column: pa.ChunkedArray) -> np.ndarray:
    """Seconds since 1970; nothing lies after a missing date."""
    micros = column.cast(pa.timestamp("us", getattr(column.type, "tz", None))).cast(pa.int64())
    return np.asarray(pc.fill_null(pc.divide(micros.cast(pa.float64()), 1e6), float("-inf")).to_numpy())


def _hash(rows: pa.Table, columns: Sequence[str]) -> np.ndarray:
    texts = pa.table({name: rows.column(name).cast(pa.string()) for name in columns}).to_pandas()
    return np.asarray(pd.util.hash_pandas_object(texts, index=False))
