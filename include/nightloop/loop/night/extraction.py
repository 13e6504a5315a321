"""Land what a night takes from a database or a Delta table; from then on its rows are a landed file like any other."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nightloop.etl.params import ChangeWindow, Extract
from nightloop.folders.schedule import next_tick, previous_tick
from nightloop.folders.source import Source
from nightloop.run import MAIN_VARIANT, Replay, format_night
from nightloop.stores.landing.landing import folder_of, land_file, list_files
from nightloop.stores.ledger.ledger import Ledger

log = logging.getLogger("nightloop.extraction")


def land_extracts(source: Source, replay: Replay, ledger: Ledger, landing: str, scratch: Path) -> list[str]:
    """Land one Parquet file for each open night of the replay that has none yet; return their names.

    The file arrives at its night's instant. A night without rows gets none. A repeated run finds the file and reads
    nothing: what a night took once stays.

    Raises:
        NightloopError: the table is not what `extract` says.
        TransientError: the database does not answer.
    """
    if source.extract is None or replay.variant != MAIN_VARIANT:
        return []
    closed = set(ledger.closed_nights(source.name))
    landed = [file.path for file in list_files(source.uri, landing)]
    added: list[str] = []
    for night in replay.nights:
        # by the night alone: the version behind it in a Delta table's file name may be another by now
        if night in closed or any(path.startswith(format_night(night)) for path in landed):
            continue
        is_first = not landed and not added and not any(each < night for each in closed)
        window = ChangeWindow(None if is_first else previous_tick(source.schedule, night), night)
        if not _is_readable(source, source.extract, night):
            log.info("no snapshot of %s: the database shows what it holds now, not then", format_night(night))
        elif name := _land(source, source.extract, window, folder_of(source.uri, landing), scratch):
            added.append(name)
    return added


def _is_readable(source: Source, extract: Extract, night: datetime) -> bool:
    """A whole database table is what it is now: it stands for the night in progress, and for no other."""
    if extract.kind == "delta" or extract.changed_at is not None:
        return True
    return night <= datetime.now(UTC) < next_tick(source.schedule, night)


def _land(source: Source, extract: Extract, window: ChangeWindow, folder: str, scratch: Path) -> str | None:
    with _open(source, extract, window) as opened:
        if opened is None:
            return None
        reader, facts = opened
        file = scratch / "extract.parquet"
        rows = _write(reader, facts, file)
        if not rows:
            return None
        version = f"-v{facts['version']}" if "version" in facts else ""
        name = f"{format_night(window.to)}{version}.parquet"
        land_file(file, folder, name, window.to)
    log.info("landed %s with %d rows", name, rows)
    return name


@contextmanager
def _open(
    source: Source, extract: Extract, window: ChangeWindow
) -> Iterator[tuple[pa.RecordBatchReader, dict[str, object]] | None]:
    """Yield the rows of a window, with what a person should find in the file's metadata."""
    if extract.kind == "delta":
        from nightloop.stores.landing.delta_reader import open_delta, read_delta

        table = open_delta(extract, window)
        facts = {"location": extract.location, "version": table.version()} if table else {}
        yield (read_delta(table, extract, window), facts) if table else None
        return
    from nightloop.stores.landing.connections import find_connection
    from nightloop.stores.landing.database_reader import read_database

    with read_database(find_connection(extract.connection), extract, source.columns, window) as reader:
        yield reader, {"connection": extract.connection, "table": extract.table}


def _write(reader: pa.RecordBatchReader, facts: dict[str, object], file: Path) -> int:
    schema = reader.schema.with_metadata({"nightloop.extract": json.dumps(facts)})
    rows = 0
    with pq.ParquetWriter(file, schema) as writer:
        for batch in reader:
            rows += batch.num_rows
            writer.write_batch(batch.cast(schema) if batch.schema != schema else batch)
    return rows
