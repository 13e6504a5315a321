"""The SQL warehouse: scores, outcomes, performance and drift, for people and their tools.

Each write replaces exactly its run keys in one transaction, so a reader sees the old rows or the new ones.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Self, TypeAlias

import pyarrow as pa
from sqlalchemy import Connection, Engine, Table, and_, delete, func, insert, select

from nightloop.fault import Fault, FencedError
from nightloop.run import RunKey, parse_instant
from nightloop.stores.database.columns import read_wall_clock
from nightloop.stores.database.engine import open_engine, reading, writing
from nightloop.stores.database.migrations import migrate_store
from nightloop.stores.database.row_erasure import delete_entities, find_entities, purge_deleted_rows, redact_texts
from nightloop.stores.warehouse.load import load_batches
from nightloop.stores.warehouse.rows import INSTANT, fit_batches
from nightloop.stores.warehouse.schema import (
    WAREHOUSE,
    drift_verdicts,
    loads,
    metadata,
    outcomes,
    performance,
    scores,
)
from nightloop.stores.warehouse.views import VIEWS, create_views, drop_views
from nightloop.verdict import Verdict

Rows: TypeAlias = "pa.Table | Iterable[pa.RecordBatch]"
RunKeys: TypeAlias = RunKey | Sequence[RunKey]
_BY_ENTITY = (scores, outcomes)


class Warehouse:
    """Writes by run key, under a fencing token; reads by view."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str) -> Self:
        """Open a migrated warehouse.

        Raises:
            NightloopError: the database is missing or has another revision than this code expects.
        """
        return cls(open_engine(url, WAREHOUSE))

    def close(self) -> None:
        self._engine.dispose()

    def replace_scores(self, run_keys: RunKeys, rows: Rows, token: int) -> int:
        """Replace the scores of the run keys; takes rows of the lake's `scores` as they are. Returns their number."""
        return self._replace(scores, run_keys, rows, token)

    def replace_outcomes(self, run_keys: RunKeys, rows: Rows, token: int) -> int:
        """Replace the outcomes of the run keys, nights of maturity; takes rows of the lake's `labels` as they are."""
        return self._replace(outcomes, run_keys, rows, token)

    def replace_performance(self, run_keys: RunKeys, rows: Rows, token: int) -> int:
        """Replace the metrics of the run keys, the measuring nights; see `stores.warehouse.rows.performance_table`."""
        return self._replace(performance, run_keys, rows, token)

    def replace_verdict(self, run_key: RunKey, verdict: Verdict, model_version: int | None, token: int) -> int:
        """Replace the drift verdict of a night; its fact `until` names the night to wait for."""
        until = verdict.facts.get("until")
        row = {
            "answer": [verdict.answer],
            "reason": [verdict.reason],
            "columns": [", ".join(verdict.columns)],
            "until": pa.array([parse_instant(until) if until else None], INSTANT),
            "model_version": pa.array([model_version], pa.int64()),
        }
        return self._replace(drift_verdicts, run_key, pa.table(row), token)

    def count(self, dataset: str, run_keys: RunKeys) -> int:
        """Return how many rows a table holds of the run keys."""
        counted = metadata.tables[f"{WAREHOUSE.name}.{dataset}"]
        with reading(self._engine) as connection:
            query = select(func.count()).select_from(counted).where(_of_keys(counted, _as_keys(run_keys)))
            return int(connection.scalar(query) or 0)

    def read(self, view: str, use_case: str) -> list[dict[str, Any]]:
        """Return the rows of a view for one use case; for small views and tests."""
        shown = next(known for known in VIEWS if known.name == view).creation.table
        with reading(self._engine) as connection:
            query = select(shown).where(shown.c.use_case == use_case)
            return [dict(row) for row in connection.execute(query).mappings()]

    def find_entities(
        self, use_case: str, whole: Collection[str], parts: Sequence[Collection[str]]
    ) -> dict[str, dict[str, int]]:
        """Return, by table, the rows per entity key that is among `whole` or has a column among its `parts`."""
        return {table.name: find_entities(self._engine, table, use_case, whole, parts) for table in _BY_ENTITY}

    def erase_entities(self, use_case: str, keys: Collection[str]) -> dict[str, int]:
        """Delete every row about these entities, whatever run wrote it; return the number by table."""
        return {table.name: delete_entities(self._engine, table, use_case, keys) for table in _BY_ENTITY}

    def redact(self, traces: "re.Pattern[bytes]") -> dict[str, int]:
        """Replace identifiers within texts; return the rows changed by table."""
        return redact_texts(self._engine, WAREHOUSE, traces)

    def purge_deleted_rows(self) -> None:
        """Have the database give up what it still holds of deleted rows."""
        purge_deleted_rows(self._engine, WAREHOUSE)

    def content_hash(self, dataset: str, run_keys: RunKeys) -> str:
        """Return a hash of a table's rows of the run keys, whatever their order; wall times do not count."""
        hashed = metadata.tables[f"{WAREHOUSE.name}.{dataset}"]
        columns = [column for column in hashed.columns if not column.name.endswith("_wall")]
        query = select(*columns).where(_of_keys(hashed, _as_keys(run_keys))).order_by(*hashed.primary_key)
        digest = hashlib.sha256()
        with reading(self._engine) as connection:
            for row in connection.execute(query):
                digest.update(repr(tuple(row)).encode())
        return digest.hexdigest()

    def _replace(self, into: Table, run_keys: RunKeys, rows: Rows, token: int) -> int:
        keys = _as_keys(run_keys)
        loaded_wall = read_wall_clock()
        counted: Counter[datetime] = Counter()
        batches = fit_batches(rows.to_batches() if isinstance(rows, pa.Table) else rows, into, keys, loaded_wall)
        with writing(self._engine, f"warehouse/{into.name}/{keys[0].scope}") as connection:
            # under the lock: no newer load can come between this look and the rows
            _assert_token(connection, into, keys, token)
            connection.execute(delete(into).where(_of_keys(into, keys)))
            load_batches(connection, into, _count_rows(batches, counted))
            # after the rows, which are counted while they stream
            _record_load(connection, into, keys, token, counted)
        return counted.total()


def migrate(url: str) -> None:
    """Bring a warehouse to the revision of this code, from nothing if need be; safe to run twice."""
    migrate_store(url, WAREHOUSE, prepare=drop_views, finish=create_views)


def _as_keys(run_keys: RunKeys) -> tuple[RunKey, ...]:
    keys = (run_keys,) if isinstance(run_keys, RunKey) else tuple(run_keys)
    if len({(key.scope, key.variant) for key in keys}) != 1:
        raise ValueError(f"the run keys of one write share use case and variant, found {[str(key) for key in keys]}")
    return keys


def _of_keys(of: Table, keys: Sequence[RunKey]) -> Any:
    return and_(
        of.c.use_case == keys[0].scope, of.c.variant == keys[0].variant, of.c.as_of.in_([key.as_of for key in keys])
    )


def _count_rows(batches: Iterable[pa.RecordBatch], counted: "Counter[datetime]") -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for entry in batch.column("as_of").value_counts():
            counted[entry["values"].as_py()] += entry["counts"].as_py()
        yield batch


def _assert_token(connection: Connection, into: Table, keys: Sequence[RunKey], token: int) -> None:
    newest = select(func.max(loads.c.token)).where(loads.c.dataset == into.name, _of_keys(loads, keys))
    found = connection.scalar(newest)
    if found is not None and found > token:
        where = f"load of {into.name} for {keys[-1]}, token {token}"
        raise FencedError(Fault(where, "no newer load of the same nights", f"token {found}", "the newer load counts"))


def _record_load(
    connection: Connection, into: Table, keys: Sequence[RunKey], token: int, counted: "Counter[datetime]"
) -> None:
    connection.execute(delete(loads).where(loads.c.dataset == into.name, _of_keys(loads, keys)))
    for key in keys:
        row = {"use_case": key.scope, "as_of": key.as_of, "variant": key.variant, "row_count": counted[key.as_of]}
        connection.execute(insert(loads).values(dataset=into.name, token=token, **row))
