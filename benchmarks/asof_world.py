"""A world for the as-of benchmark: decisions of many entities, and three sources of versions, as Parquet."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SOURCES = ("balances", "scores", "visits")
NIGHTS = tuple(datetime(2025, 1, 2, 2, tzinfo=UTC) + timedelta(days=number) for number in range(30))
VERSIONS_PER_ENTITY = 10
# stated, as a Delta table states its own: nothing is inferred when a plan is made
SPINE_SCHEMA = "row_id STRING, entity BIGINT, decision_time TIMESTAMP, night STRING, variant STRING"
SOURCE_SCHEMA = (
    "entity BIGINT, value DOUBLE, known_at TIMESTAMP, known_by STRING, _file STRING, _row BIGINT, night STRING, "
    "variant STRING"
)
_CHUNK = 1_000_000
_DAY_US = 86_400_000_000
_STRIDE = 7_919_000_111  # prime: no two instants are equal, so no tie asks for an order that merge_asof has not


def write_world(rows: int, folder: Path) -> None:
    """Write `spine.parquet` and one file per source, `rows` each, in no order of time or entity."""
    folder.mkdir(parents=True)
    for number, name in enumerate(("spine", *SOURCES)):
        chance = np.random.default_rng(number)
        writer = None
        for start in range(0, rows, _CHUNK):
            chunk = _draw(chance, start, min(_CHUNK, rows - start), rows, is_spine=name == "spine")
            writer = writer or pq.ParquetWriter(folder / f"{name}.parquet", chunk.schema)
            writer.write_table(chunk)
        assert writer is not None
        writer.close()


def _draw(chance: np.random.Generator, start: int, count: int, rows: int, *, is_spine: bool) -> pa.Table:
    begin = int(NIGHTS[0].timestamp() * 1e6) - _DAY_US
    span = _DAY_US * len(NIGHTS)
    entity = chance.integers(0, max(1, rows // VERSIONS_PER_ENTITY), count)
    order = np.arange(start, start + count, dtype=np.int64)
    instant = begin + 2 * (order * _STRIDE % (span // 2)) + (1 if is_spine else 2)
    names = np.array([night.strftime("%Y%m%dT%H%MZ") for night in NIGHTS])
    night = pa.array(names[(instant - begin - 1) // _DAY_US])
    known = pa.array(instant, pa.timestamp("us", tz="UTC"))
    text = pa.array(np.full(count, "main"))
    if is_spine:
        row_id = pa.array([f"{one}@{at}" for one, at in zip(entity, instant, strict=True)])
        columns = {"row_id": row_id, "entity": entity, "decision_time": known, "night": night, "variant": text}
        return pa.table(columns)
    return pa.table(
        {
            "entity": entity,
            "value": chance.normal(size=count),
            "known_at": known,
            "known_by": pa.array(np.full(count, "arrival")),
            "_file": night,
            "_row": order,
            "night": night,
            "variant": text,
        }
    )
