"""The landing zone: which files lie there, when they arrived, and what is in them. Local folders and S3."""

import gzip
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

from nightloop.fault import Fault, NightloopError
from nightloop.run import parse_instant

_CHUNK_BYTES = 1 << 20
_UNFINISHED = (".partial", ".tmp", ".crdownload", ".part")
_ARRIVED_AT = "arrived-at"


@dataclass(frozen=True, slots=True)
class LandedFile:
    """One file of a source: `path` is its name below the source's folder, `address` where Spark reads it."""

    path: str
    address: str
    size: int
    arrived_at: datetime

    @property
    def is_compressed(self) -> bool:
        return self.path.endswith(".gz")


def list_files(uri: str, landing_root: str) -> list[LandedFile]:
    """List the finished files of one source by name; hidden and unfinished ones are left out.

    A relative `uri` lies below the landing zone. A local file arrived at its modification time, an S3 object at its
    metadata `arrived-at` or else its last modification. A folder that does not exist yet holds no file.
    """
    folder = uri if "://" in uri or uri.startswith("/") else f"{landing_root.rstrip('/')}/{uri}"
    found = _list_objects(folder) if "://" in folder else _list_folder(Path(folder).resolve())
    return sorted((file for file in found if _is_finished(file.path)), key=lambda file: file.path)


def compute_checksum(file: LandedFile) -> str:
    """Return the SHA-256 of the file as it lies there."""
    digest = hashlib.sha256()
    with _open_stored(file) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def open_file(file: LandedFile) -> Iterator[IO[bytes]]:
    """Open a file for reading from its start, decompressed."""
    with _open_stored(file) as stored:
        if file.is_compressed:
            with gzip.GzipFile(fileobj=stored) as stream:
                yield cast("IO[bytes]", stream)
        else:
            yield stored


def replace_content(file: LandedFile, content: bytes) -> int:
    """Give a landed file other content, compressed as it was, and return its new size; it keeps its arrival."""
    stored = gzip.compress(content, mtime=0) if file.is_compressed else content
    if "://" not in file.address:
        path = Path(file.address)
        facts, partial = path.stat(), path.with_name(f".{path.name}.{os.getpid()}.partial")
        partial.write_bytes(stored)
        partial.chmod(facts.st_mode)
        os.utime(partial, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        partial.replace(path)
    else:
        bucket, key = _split_address(file.address)
        arrived = {_ARRIVED_AT: file.arrived_at.isoformat()}
        _s3_client().put_object(Bucket=bucket, Key=key, Body=stored, Metadata=arrived)
    return len(stored)


def _is_finished(path: str) -> bool:
    parts = path.split("/")
    return not any(part.startswith((".", "_")) for part in parts) and not parts[-1].endswith(_UNFINISHED)


def _list_folder(folder: Path) -> Iterator[LandedFile]:
    for path in folder.rglob("*"):
        if path.is_file():
            facts = path.stat()
            arrived_at = datetime.fromtimestamp(facts.st_mtime_ns // 1000 / 1e6, tz=UTC)
            yield LandedFile(path.relative_to(folder).as_posix(), str(path), facts.st_size, arrived_at)


def _list_objects(folder: str) -> Iterator[LandedFile]:
    bucket, prefix = _split_address(f"{folder.rstrip('/')}/")
    client = _s3_client()
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            if entry["Key"].endswith("/"):
                continue
            stated = client.head_object(Bucket=bucket, Key=entry["Key"])["Metadata"].get(_ARRIVED_AT)
            yield LandedFile(
                entry["Key"].removeprefix(prefix),
                f"s3a://{bucket}/{entry['Key']}",
                entry["Size"],
                parse_instant(stated) if stated else entry["LastModified"].astimezone(UTC),
            )


def _open_stored(file: LandedFile) -> IO[bytes]:
    if "://" not in file.address:
        try:
            return Path(file.address).open("rb")
        except OSError as error:
            raise NightloopError(
                Fault(f"landed file {file.path}", "a readable file", type(error).__name__, "check the landing zone")
            ) from error
    bucket, key = _split_address(file.address)
    return cast("IO[bytes]", _s3_client().get_object(Bucket=bucket, Key=key)["Body"])


def _split_address(address: str) -> tuple[str, str]:
    bucket, _, key = address.partition("://")[2].partition("/")
    return bucket, key


def _s3_client() -> Any:
    import boto3

    return boto3.client("s3")
