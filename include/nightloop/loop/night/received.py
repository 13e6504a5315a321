"""Personal data in the files of a load: columns that nobody declared, and the key of each night's hashes."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import reduce
from typing import TYPE_CHECKING, TypeAlias

from nightloop.etl.arrivals import HISTORY
from nightloop.etl.records import sample_texts
from nightloop.fault import Fault, NightloopError
from nightloop.folders.source import Source
from nightloop.privacy.keyed import key_id
from nightloop.privacy.scan import Suspicion, scan_columns
from nightloop.run import RunKey
from nightloop.stores.keys import KeyRing
from nightloop.stores.landing.landing import LandedFile, open_file
from nightloop.stores.ledger.ledger import Ledger
from nightloop.verdict import Check

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from nightloop.etl.read import RawFile

KeyedFiles: TypeAlias = "list[tuple[bytes, list[RawFile]]]"
PII_KEY = "pii_key"
_SCANNED_FILES = 3
_EVER = datetime(9999, 1, 1, tzinfo=UTC)


def scan_files(source: Source, files: Sequence[LandedFile]) -> None:
    """Pass if no undeclared column of a bounded sample of the files looks like personal data.

    Raises:
        NightloopError: names each column, what it looks like, and what to declare; no value is told.
    """
    cleared = {*source.pii, *source.not_pii, *source.ignored_columns}
    step = max(1, -(-len(files) // _SCANNED_FILES))
    found: dict[str, Suspicion] = {}
    for file in files[::step]:
        with open_file(file) as stream:
            samples = sample_texts(stream, source.format)
        found |= {suspicion.column: suspicion for suspicion in scan_columns(samples, cleared)}
    if found:
        raise NightloopError([_describe(source, found[column]) for column in sorted(found)])


def keys_by_night(ledger: Ledger, source: str, variant: str) -> dict[datetime, str]:
    """Return the name of the key under which each night was hashed."""
    rows = ledger.checks(source, HISTORY, _EVER, variant)
    return {row.as_of: row.check.detail for row in rows if row.check.name == PII_KEY}


def group_by_key(files: "Sequence[RawFile]", recorded: Mapping[datetime, str], ring: KeyRing) -> "KeyedFiles":
    """Return the files with the key of their nights: that of a night's first load, else the current one.

    Raises:
        NightloopError: a night's key is known no more.
    """
    groups: dict[bytes, list[RawFile]] = defaultdict(list)
    for file in files:
        name = recorded.get(file.as_of)
        groups[ring.current if name is None else ring.find(name)].append(file)
    return list(groups.items())


def read_received(spark: "SparkSession", source: Source, groups: "KeyedFiles", variant: str) -> "DataFrame":
    """Return the rows of all files, personal data treated under the key of each file's night."""
    from pyspark.sql import DataFrame

    from nightloop.etl.read import read_files
    from nightloop.privacy.treatment import treat_columns

    parts = [
        read_files(spark, files, variant, source.read, lambda rows, key=key: treat_columns(rows, key, source.pii))  # type: ignore[misc]
        for key, files in groups
    ]
    return reduce(DataFrame.unionByName, parts)


def record_keys(ledger: Ledger, source: str, variant: str, token: int, groups: "KeyedFiles") -> None:
    """Write down under which key each night was hashed."""
    for key, files in groups:
        for night in sorted({file.as_of for file in files}):
            ledger.write_checks(
                RunKey(source, night, variant), token, f"pii/{source}", [Check(PII_KEY, "pass", detail=key_id(key))]
            )


def _describe(source: Source, suspicion: Suspicion) -> Fault:
    looks = "by its name" if suspicion.by_name else f"by {suspicion.share:.0%} of the sampled values"
    return Fault(
        f"column {suspicion.column} of {source.name}",
        "no undeclared personal data",
        f"what looks like a {suspicion.kind}, {looks}",
        f"nothing was written; declare its treatment under `pii` in source.yaml, or under `not_pii` why it is none"
        f"{'' if suspicion.column in source.columns else ', or list it under `ignored_columns`'}",
    )
