"""One commit of one replay: its condition, its transaction, its rows, and how it is told from another's."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyspark.errors import PySparkException

from nightloop.dataset import DatasetRef
from nightloop.fault import Fault, FencedError, NightloopError, TransientError
from nightloop.run import Replay, RunKey, format_night
from nightloop.stores.lake.files import LakeFiles

CONFLICT = ("DELTA_CONCURRENT", "DELTA_METADATA_CHANGED", "DELTA_PROTOCOL_CHANGED", "ConcurrentModification")
# so many commits of other nights may follow ours before it is looked for; else the newest version is told
_HISTORY_DEPTH = 20


@dataclass(frozen=True, slots=True)
class Commit:
    """One published version of a table, and the rows it holds for the nights of its replay."""

    ref: DatasetRef
    version: int
    rows: int
    run_keys: tuple[RunKey, ...]


def check_rows(rows: int, expected: int | None, where: str) -> None:
    """Pass if so many rows may be published; without a number at least one, for an empty frame deletes the nights."""
    least = 1 if expected is None else expected
    if rows < least:
        remedy = "an empty frame would delete the nights; look at the job's input"
        raise NightloopError(Fault(where, f"at least {least} rows", f"{rows}", remedy))
    if expected is not None and rows > expected:
        raise NightloopError(Fault(where, f"at most {expected} rows", f"{rows}", "the query returns a row twice"))


def partition_condition(replay: Replay) -> str:
    """Return the `replaceWhere` of a replay."""
    nights = ", ".join(f"'{format_night(night)}'" for night in replay.nights)
    return f"night IN ({nights}) AND variant = '{replay.variant}'"


def transaction_id(ref: DatasetRef, replay: Replay) -> str:
    """Return the `txnAppId` under which the attempts of one replay fence each other."""
    return f"{ref}@{replay.run_key}#{len(replay.nights)}"


def describe_commit(replay: Replay, token: int) -> str:
    """Return the `userMetadata` by which a commit is found again."""
    return json.dumps({"run_key": str(replay.run_key), "nights": len(replay.nights), "token": token})


def find_own_version(files: LakeFiles, ref: DatasetRef, replay: Replay, token: int) -> int:
    """Return the version of our own commit: Delta skips the write of a lower token without a word."""
    table = files.table(ref)
    committed = table.transaction_version(transaction_id(ref, replay))
    if committed != token:
        raise FencedError(
            Fault(
                f"publishing {ref} for {replay.run_key}",
                f"a commit with token {token}",
                f"token {committed}",
                "a newer attempt owns these nights; nothing is to be done",
            )
        )
    version = table.version()
    for age, entry in enumerate(table.history(_HISTORY_DEPTH)):
        if _is_own(entry, replay, token):
            return int(entry.get("version", version - age))
    return version


@contextmanager
def conflicts_are_transient(ref: DatasetRef, replay: Replay) -> Iterator[None]:
    """Turn a conflict of two writers into what a retry mends."""
    try:
        yield
    except PySparkException as error:
        if any(mark in str(error) for mark in CONFLICT):
            raise TransientError(f"another run changed {ref} while {replay.run_key} published it") from error
        raise


def _is_own(entry: dict[str, Any], replay: Replay, token: int) -> bool:
    try:
        facts = json.loads(entry.get("userMetadata") or "{}")
    except ValueError:
        return False
    return bool(facts.get("token") == token and facts.get("run_key") == str(replay.run_key))
