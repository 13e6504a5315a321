"""A trace is found in every format that a state folder holds, and a longer word is none."""

import gzip
import io
import json
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightloop.privacy.traces import compile_traces
from nightloop.stores.trace_search import search_file, search_folder

VALUE = "zoë-4711"
TRACES = compile_traces([VALUE])


def write_parquet(path: Path, value: str) -> None:
    pq.write_table(pa.table({"a": ["x", value, None]}), path, compression="zstd")


def write_nested(path: Path, value: str) -> None:
    pq.write_table(
        pa.table({"a": [{"b": ["x", value]}], "m": pa.array([[("k", value)]], pa.map_("string", "string"))}), path
    )


def write_log(path: Path, value: str) -> None:
    stats = json.dumps({"minValues": {"who": value}})
    path.write_text(json.dumps({"add": {"path": "p", "stats": stats}}) + "\n")


def write_html(path: Path, value: str) -> None:
    path.write_text(f"<p>{value.replace('ë', '&#235;')}</p><script>x = {json.dumps({'a': value})}</script>")


def write_gzip(path: Path, value: str) -> None:
    path.write_bytes(gzip.compress(f"id\n{value}\n".encode()))


def write_zip(path: Path, value: str) -> None:
    inner = gzip.compress(value.encode())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.gz", inner)


def write_tar(path: Path, value: str) -> None:
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo("a.txt")
        entry.size = len(value.encode())
        archive.addfile(entry, io.BytesIO(value.encode()))


def write_arrays(path: Path, value: str) -> None:
    with path.open("wb") as stream:
        np.savez_compressed(stream, ids=np.array(["x", value]))


def write_table(path: Path, value: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (a TEXT, b TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, 'next')", [(f"filler-{n}",) for n in range(9)] + [(value,)])


def write_deleted(path: Path, value: str) -> None:
    write_table(path, value)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("DELETE FROM t WHERE a = ?", (value,))


WRITERS = [
    write_parquet,
    write_nested,
    write_log,
    write_html,
    write_gzip,
    write_zip,
    write_tar,
    write_arrays,
    write_table,
]


@pytest.mark.parametrize("write", [*WRITERS, write_deleted], ids=lambda write: write.__name__)
def test_found_where_it_is(tmp_path: Path, write: Callable[[Path, str], None]) -> None:
    path = tmp_path / "sub" / "file"
    path.parent.mkdir()
    write(path, VALUE)
    assert [hit.path for hit in search_folder(tmp_path, TRACES)] == [path]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_not_found_in_a_longer_word(tmp_path: Path, write: Callable[[Path, str], None]) -> None:
    path = tmp_path / "file"
    write(path, f"{VALUE}2")
    assert search_file(path, TRACES) is None


def test_file_names_and_broken_archives_are_searched_as_they_are(tmp_path: Path) -> None:
    (tmp_path / f"{VALUE}.txt").write_text("")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"x" * 99)[:20] + VALUE.encode())
    (tmp_path / "clean.gz").write_bytes(b"\x1f\x8b broken")
    assert [hit.path.name for hit in search_folder(tmp_path, TRACES)] == ["cut.gz", f"{VALUE}.txt"]


def test_a_search_leaves_the_locks_of_an_open_database(tmp_path: Path) -> None:
    """The last to close a database removes its log; it may not while this process still has the database open."""
    path = tmp_path / "open.db"
    writes = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('INSERT INTO t VALUES (1)'); c.commit()"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (x)")
        search_folder(tmp_path, TRACES)
        subprocess.run([sys.executable, "-c", f"{writes}; c.close()", path], check=True)
        assert path.with_name("open.db-wal").exists()
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)
