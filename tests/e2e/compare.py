"""What a night left behind: lake partitions, warehouse rows and ledger records as text, wall times and tokens aside."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from deltalake import DeltaTable

from nightloop.loop.night.drift_inputs import features_of, read_verdicts
from nightloop.run import MAIN_VARIANT, RunKey, format_night
from nightloop.stores.ledger.ledger import Ledger
from nightloop.stores.warehouse.warehouse import Warehouse
from tests.loop import Loop

Rows: TypeAlias = tuple[str, ...]
Content: TypeAlias = Mapping[str, Rows]

_WAREHOUSE_TABLES = ("scores", "outcomes", "performance", "drift_verdicts")
_SHOWN = 3


def read_lake(loop: Loop, night: datetime) -> dict[str, Rows]:
    """Return the rows of one night in every table of every layer."""
    root = Path(loop.settings.lake)
    tables = [log.parent for log in sorted(root.rglob("_delta_log")) if "staging" not in log.parts]
    return {f"lake {table.relative_to(root)}": tuple(_rows(table, night)) for table in tables}


def read_ledger(loop: Loop, night: datetime) -> dict[str, Rows]:
    """Return what the ledger says of one night: champion, counts, profiles, metrics, maturity and verdict."""
    ledger, scope = Ledger.open(loop.settings.ledger_url), loop.name
    champion = ledger.champion(scope, night)
    verdict = read_verdicts(ledger, scope, MAIN_VARIANT).get(night)
    found = {
        "ledger champion": [{"version": champion.version if champion else None}],
        "ledger metrics": [asdict(row) for row in ledger.metrics(scope, night, night)],
        "ledger maturity": [asdict(row) for row in ledger.maturity(scope, night) if row.as_of == night],
        "ledger verdict": [asdict(verdict.verdict)] if verdict else [],
    }
    versions = sorted(path.name for path in Path(loop.settings.lake, "features", scope).glob("*"))
    for dataset in (*(features_of(scope, version) for version in versions), "scores"):
        found[f"ledger profiles of {dataset}"] = [asdict(row) for row in ledger.profiles(scope, dataset, night, night)]
    for name in (scope, *(source.name for source in loop.sources)):
        counted = ledger.counts(name, night, night, MAIN_VARIANT)
        found[f"ledger counts of {name}"] = [{"job": row.job, **row.counts} for row in counted]
    ledger.close()
    return {name: tuple(sorted(map(_text, rows))) for name, rows in found.items()}


def read_warehouse(loop: Loop, night: datetime) -> dict[str, Rows]:
    """Return the warehouse's own content hashes of one night."""
    warehouse, key = Warehouse.open(loop.settings.warehouse_url), RunKey(loop.name, night)
    hashes: dict[str, Rows] = {f"warehouse {name}": (warehouse.content_hash(name, key),) for name in _WAREHOUSE_TABLES}
    warehouse.close()
    return hashes


def read_night(loop: Loop, night: datetime) -> Content:
    """Return everything that one night left behind."""
    return {**read_lake(loop, night), **read_warehouse(loop, night), **read_ledger(loop, night)}


def content_hash(content: Content) -> str:
    """Return one hash of everything; a table without a row of the night counts as none."""
    return hashlib.sha256(_text({name: rows for name, rows in content.items() if rows}).encode()).hexdigest()


def assert_equal(expected: Content, found: Content, where: str) -> None:
    """Fail with the first rows that differ, table by table."""
    if content_hash(expected) == content_hash(found):
        return
    lines = [f"{where}:"]
    for name in sorted({*expected, *found}):
        before, after = expected.get(name, ()), found.get(name, ())
        if before != after:
            lines += [f"  {name}: {len(before)} rows, then {len(after)}"]
            lines += [f"    - {row}" for row in _only(before, after)] + [f"    + {row}" for row in _only(after, before)]
    raise AssertionError("\n".join(lines))


def _only(rows: Rows, others: Rows) -> Sequence[str]:
    known = {*others}
    return [row for row in rows if row not in known][:_SHOWN]


def _rows(table: Path, night: datetime) -> Iterator[str]:
    found = DeltaTable(str(table)).to_pyarrow_table(filters=[("night", "=", format_night(night))])
    kept = [column for column in found.column_names if not column.endswith("_wall")]
    yield from sorted(_text(row) for row in found.select(sorted(kept)).to_pylist())


def _text(row: object) -> str:
    return json.dumps(row, default=str, sort_keys=True)
