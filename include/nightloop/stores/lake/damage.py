"""Find what is damaged in a local lake, and say which nights to run again."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from nightloop.fault import Fault

_NIGHT = re.compile(r"night=([^/]+)/")
_SHOWN_NIGHTS = 5


def examine_lake(root: Path) -> list[Fault]:
    """Hold every table's log against the files that lie there; rows are not read. One fault per damaged table."""
    logs = sorted(log for log in root.glob("*/**/_delta_log") if "staging" not in log.relative_to(root).parts)
    return [fault for log in logs for fault in _examine_table(root, log.parent)]


def _examine_table(root: Path, folder: Path) -> Iterator[Fault]:
    where = f"lake table {folder.relative_to(root)}"
    try:
        _assert_contiguous(folder / "_delta_log")
        actions = pa.table(DeltaTable(str(folder)).get_add_actions(flatten=True)).to_pylist()
    except (DeltaError, OSError, ValueError) as error:
        remedy = (
            f"put {folder / '_delta_log'} back from a backup, or move {folder} away and run its nights again: "
            "`airflow backfill create`, or `bootstrap` for a whole history"
        )
        yield Fault(where, "a whole transaction log", str(error).strip().splitlines()[0][:300], remedy)
        return
    broken = {
        path for action in actions if not _is_whole(folder, path := unquote(action["path"]), action["size_bytes"])
    }
    if broken:
        nights = sorted({match[1] for path in broken if (match := _NIGHT.search(f"{path}/"))})
        listed = ", ".join(nights[:_SHOWN_NIGHTS]) + (" …" if len(nights) > _SHOWN_NIGHTS else "")
        found = f"{len(broken)} missing or cut short, of {len(nights)} nights: {listed}"
        yield Fault(where, f"{len(actions)} data files", found, "clear the task that writes them, for these nights")


def _assert_contiguous(log: Path) -> None:
    """Raise ValueError if a commit after the newest checkpoint is missing; delta-rs would read on without it."""
    checkpoints = [int(path.name[:20]) for path in log.glob("*.checkpoint*.parquet")]
    commits = {int(path.stem) for path in log.glob("*.json") if path.stem.isdigit()}
    first = max(checkpoints, default=-1) + 1
    newest = max(commits, default=-1 if checkpoints else 0)
    missing = sorted({*range(first, newest + 1)} - commits)
    if missing:
        raise ValueError(f"commit {missing[0]} is missing")


def _is_whole(folder: Path, path: str, size: int) -> bool:
    try:
        return (folder / path).stat().st_size == size
    except OSError:
        return False
