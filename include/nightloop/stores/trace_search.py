"""Search files for a subject's identifiers, each decoded by its format: Parquet, SQLite, archives, text."""

import gzip
import io
import sqlite3
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nightloop.privacy.traces import Traces

_GZIP, _ZIP, _PARQUET, _SQLITE = b"\x1f\x8b", b"PK\x03\x04", b"PAR1", b"SQLite format 3\0"
_BESIDE = ("-wal", "-journal")
_BATCH_ROWS = 65_536
# chunks overlap by more than an identifier is long, lest one that lies across their border is missed
_CHUNK_BYTES, _OVERLAP_BYTES = 1 << 24, 1 << 12
_SEPARATOR = "\x1e"  # lest two neighbours read as one word
_NESTING = 5  # archives within archives: a bomb has no end of them


@dataclass(frozen=True, slots=True)
class TraceHit:
    """One file that holds a trace, and where in it: a column, a table, a member of an archive. No value is told."""

    path: Path
    where: str


def search_folder(top: Path, traces: Traces, but: Collection[Path] = ()) -> list[TraceHit]:
    """Return every file below a folder, some parts left out, that holds a trace: once, with the first place found.

    A process of its own does it: closing a file drops every lock that the process holds on it, so a store that the
    caller has open would be open to others without a lock, and SQLite would lose its log under both.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_search_below, top, traces, tuple(but)).result()


def _search_below(top: Path, traces: Traces, but: Collection[Path]) -> list[TraceHit]:
    hits = []
    for path in sorted(top.rglob("*")):
        if path.is_file() and not path.is_symlink() and not any(path.is_relative_to(other) for other in but):
            try:
                where = search_file(path, traces)
            except FileNotFoundError:
                continue  # gone since it was listed: a store at work removes its own files
            if where is not None:
                hits.append(TraceHit(path, where))
    return hits


def search_file(path: Path, traces: Traces) -> str | None:
    """Return where a file holds a trace, None where it holds none; one that does not decode is searched as it lies."""
    with path.open("rb") as stream:
        head = stream.read(len(_SQLITE))
    if traces.whole.search(path.name.encode()):
        return "name"
    if head == _SQLITE:
        return _search_sqlite(path, traces)
    if path.name.endswith(_BESIDE):
        return _search_bytes(path, traces)  # by its database, which knows the longer words
    return _search_bytes(path, traces) or _decode(head, path, traces, _NESTING)


def _decode(head: bytes, source: Path | io.BytesIO, traces: Traces, depth: int) -> str | None:
    try:
        if head.startswith(_PARQUET):
            return _search_parquet(source, traces)
        if depth and head.startswith(_GZIP):
            with gzip.open(source) as stream:
                found = _search_content(stream.read(), traces, depth - 1)
            return f"gzip: {found}" if found else None
        if depth and head.startswith(_ZIP):
            return _search_zip(source, traces, depth - 1)
        if depth and _is_tar(source):
            return _search_tar(source, traces, depth - 1)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError, pa.ArrowException):
        return None  # cut short or not what its first bytes say: its bytes were searched as they lie
    return None


def _search_content(content: bytes, traces: Traces, depth: int) -> str | None:
    if traces.whole.search(content):
        return "content"
    return _decode(content[: len(_SQLITE)], io.BytesIO(content), traces, depth)


def _search_bytes(path: Path, traces: Traces) -> str | None:
    """Search a file as it lies, chunk by chunk."""
    kept = b""
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            if traces.whole.search(kept + chunk):
                return "bytes"
            kept = chunk[-_OVERLAP_BYTES:]
    return None


def _search_parquet(source: Path | io.BytesIO, traces: Traces) -> str | None:
    parquet = pq.ParquetFile(source)
    for batch in parquet.iter_batches(_BATCH_ROWS):
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            for leaf in _leaves(column):
                if traces.whole.search(_joined(leaf)):
                    return f"column {name}"
    return None


def _leaves(column: pa.Array) -> Iterator[pa.Array]:
    """Yield the texts and whole numbers within a column, however nested."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        yield from _leaves(column.dictionary)
    elif pa.types.is_struct(kind):
        for child in column.flatten():
            yield from _leaves(child)
    elif pa.types.is_map(kind):
        yield from _leaves(column.keys)
        yield from _leaves(column.items)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from _leaves(column.flatten())
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or _is_text(kind) or pa.types.is_integer(kind):
        yield column


def _joined(leaf: pa.Array) -> bytes:
    if pa.types.is_binary(leaf.type) or pa.types.is_large_binary(leaf.type):
        return _SEPARATOR.encode().join(value for value in leaf.to_pylist() if value is not None)
    texts = pc.unique(leaf).cast(pa.string()).drop_null()
    return _SEPARATOR.join(texts.to_pylist()).encode("utf-8", "surrogatepass")


def _is_text(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _search_zip(source: Path | io.BytesIO, traces: Traces, depth: int) -> str | None:
    with zipfile.ZipFile(source) as archive:
        for member in archive.infolist():
            found = _search_content(archive.read(member), traces, depth)
            if found or traces.whole.search(member.filename.encode()):
                return f"{member.filename}: {found or 'name'}"
    return None


def _is_tar(source: Path | io.BytesIO) -> bool:
    is_tar: bool = tarfile.is_tarfile(source)
    if isinstance(source, io.BytesIO):
        source.seek(0)
    return is_tar


def _search_tar(source: Path | io.BytesIO, traces: Traces, depth: int) -> str | None:
    with source.open("rb") if isinstance(source, Path) else source as stream, tarfile.open(fileobj=stream) as archive:
        for member in archive:
            content = archive.extractfile(member)
            found = _search_content(content.read(), traces, depth) if content else None
            if found or traces.whole.search(member.name.encode()):
                return f"{member.name}: {found or 'name'}"
    return None


def _search_sqlite(path: Path, traces: Traces) -> str | None:
    """Search every table, then the pages as they lie: free ones and the write-ahead log hold deleted rows.

    In a page nothing parts one value from the next, so an identifier counts there within a longer word too, unless a
    live value has it so: then only what stands alone is a trace.
    """
    is_within = False
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        # a text of SQLite need not be UTF-8
        connection.text_factory = bytes
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            quoted = table.decode().replace('"', '""')
            for row in connection.execute(f'SELECT * FROM "{quoted}"'):  # noqa: S608 - a quoted name of the file itself
                text = b"\x1e".join(_encode(value) for value in row)
                if traces.whole.search(text):
                    return f"table {table.decode()}"
                is_within = is_within or traces.anywhere.search(text) is not None
    pattern = traces.whole if is_within else traces.anywhere
    for beside in ("", *_BESIDE):
        raw = path.with_name(path.name + beside)
        if raw.is_file() and pattern.search(raw.read_bytes()):
            return f"pages{beside}"
    return None


def _encode(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode() if isinstance(value, int) else b""
