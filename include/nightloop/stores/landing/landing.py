"""The landing zone: which files lie there, when they arrived, and what is in them. Local folders and S3."""

import gzip
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, cast

from nightloop.fault import Fault, NightloopError
from nightloop.run import parse_instant

SETTLE_SECONDS = 5.0
_CHUNK_BYTES = 1 << 20
_UNFINISHED = (".partial", ".tmp", ".crdownload", ".part")
_ARRIVED_AT = "arrived-at"


@dataclass(frozen=True, slots=True)
class LandedFile:
    """One file of a source: `path` is its name below the source's folder, `address` where Spark reads it.

    `etag` names the content of an S3 object. `is_complete` is false while a declared success marker is awaited.
    """

    path: str
    address: str
    size: int
    arrived_at: datetime
    etag: str = ""
    is_complete: bool = True

    @property
    def is_compressed(self) -> bool:
        return self.path.endswith(".gz")

    @property
    def is_local(self) -> bool:
        return "://" not in self.address

    @property
    def is_settled(self) -> bool:
        """Whether nobody is known to be writing the file: an S3 object shows when it is whole, a local file at once."""
        return self.is_complete and (not self.is_local or _age_seconds(self) >= SETTLE_SECONDS)


def list_files(uri: str, landing_root: str, success_marker: str | None = None) -> list[LandedFile]:
    """List the files of one source by name; hidden and unfinished ones and success markers are left out.

    A relative `uri` lies below the landing zone. A local file arrived at its modification time, an S3 object at its
    metadata `arrived-at` or else its last modification. A folder that does not exist yet holds no file. With a
    `success_marker` a file is complete once the marker lies beside it and is not older.
    """
    folder = folder_of(uri, landing_root)
    found = list(_list_objects(folder) if "://" in folder else _list_folder(Path(folder)))
    files = [file for file in found if _is_finished(file.path)]
    if success_marker is not None:
        files = list(_match_markers(files, {file.path: file.arrived_at for file in found}, success_marker))
    return sorted(files, key=lambda file: file.path)


def folder_of(uri: str, landing_root: str) -> str:
    """Return the address of a source's folder."""
    if "://" in uri:
        return uri
    folder = uri if uri.startswith("/") else f"{landing_root.rstrip('/')}/{uri}"
    return folder if "://" in folder else str(Path(folder).resolve())


def compute_checksum(file: LandedFile) -> str:
    """Return the SHA-256 of the file as it lies there."""
    digest = hashlib.sha256()
    with _open_stored(file) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def find_growing(checksums: Mapping[LandedFile, str]) -> set[LandedFile]:
    """Look at local files a second time and return those that are not any more what they were at the first look.

    Files that were written a moment ago are given time for it, and their checksum is compared as well.
    """
    young = [file for file in checksums if file.is_local and not file.is_settled]
    if young:
        time.sleep(SETTLE_SECONDS - max(0.0, min(map(_age_seconds, young))))
    growing = {file for file in checksums if file.is_local and _look_again(file) != (file.size, file.arrived_at)}
    return growing | {file for file in young if file not in growing and compute_checksum(file) != checksums[file]}


@contextmanager
def open_file(file: LandedFile) -> Iterator[IO[bytes]]:
    """Open a file for reading from its start, decompressed."""
    with _open_stored(file) as stored:
        if file.is_compressed:
            with gzip.GzipFile(fileobj=stored) as stream:
                yield cast("IO[bytes]", stream)
        else:
            yield stored


def fetch_file(file: LandedFile, checksum: str, folder: Path) -> LandedFile:
    """Copy an S3 object to this machine, for an engine that reads local files only."""
    copy = folder / f"{checksum}-{PurePosixPath(file.path).name}"
    with _open_stored(file) as stored, copy.open("wb") as stream:
        shutil.copyfileobj(stored, stream, _CHUNK_BYTES)
    return replace(file, address=str(copy))


def land_file(written: Path, folder: str, name: str, arrived_at: datetime) -> None:
    """Put a finished file into a source's folder as one that arrived then; a file that is there already stays."""
    if "://" in folder:
        from nightloop.stores.landing.s3 import put_file

        put_file(written, f"{folder.rstrip('/')}/{name}", {_ARRIVED_AT: arrived_at.isoformat()})
        return
    partial = Path(folder, f".{name}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(written, partial)
    # in whole numbers: a float does not hold the nanoseconds since 1970
    nanoseconds = int(arrived_at.timestamp()) * 10**9 + arrived_at.microsecond * 1000
    os.utime(partial, ns=(nanoseconds, nanoseconds))
    # linked, not renamed, which would replace what another attempt has landed
    with suppress(FileExistsError):
        Path(folder, name).hardlink_to(partial)
    partial.unlink()


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
        from nightloop.stores.landing.s3 import replace_object

        replace_object(stored, file.address, {_ARRIVED_AT: file.arrived_at.isoformat()})
    return len(stored)


def _is_finished(path: str) -> bool:
    parts = path.split("/")
    return not any(part.startswith((".", "_")) for part in parts) and not parts[-1].endswith(_UNFINISHED)


def _match_markers(files: list[LandedFile], times: Mapping[str, datetime], marker: str) -> Iterator[LandedFile]:
    """Yield the files that are no markers; complete is what has a marker beside it that is not older."""
    names = re.compile(re.escape(marker).replace(re.escape("{name}"), ".+"))
    for file in files:
        path = PurePosixPath(file.path)
        if not names.fullmatch(path.name):
            marked_at = times.get(str(path.with_name(marker.replace("{name}", path.name))))
            yield replace(file, is_complete=marked_at is not None and marked_at >= file.arrived_at)


def _list_folder(folder: Path) -> Iterator[LandedFile]:
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a writer gave it its last name meanwhile
            if path.is_file():
                size, arrived_at = _look_at(path)
                yield LandedFile(path.relative_to(folder).as_posix(), str(path), size, arrived_at)


def _look_at(path: Path) -> tuple[int, datetime]:
    facts = path.stat()
    # to the microsecond, as the ledger keeps it: by exactly this instant the manifest finds a file again
    return facts.st_size, datetime.fromtimestamp(facts.st_mtime_ns // 1000 / 1e6, tz=UTC)


def _look_again(file: LandedFile) -> tuple[int, datetime] | None:
    try:
        return _look_at(Path(file.address))
    except FileNotFoundError:
        return None


def _age_seconds(file: LandedFile) -> float:
    return (datetime.now(UTC) - file.arrived_at).total_seconds()


def _list_objects(folder: str) -> Iterator[LandedFile]:
    from nightloop.stores.landing.s3 import list_objects, split_address

    prefix = split_address(f"{folder.rstrip('/')}/")[1]
    for found in list_objects(folder):
        path = split_address(found.address)[1].removeprefix(prefix)
        stated = found.metadata.get(_ARRIVED_AT)
        arrived_at = parse_instant(stated) if stated else found.modified_at
        yield LandedFile(path, found.address, found.size, arrived_at, found.etag)


def _open_stored(file: LandedFile) -> IO[bytes]:
    if not file.is_local:
        from nightloop.stores.landing.s3 import open_object

        return open_object(file.address, file.etag, file.size)
    try:
        return Path(file.address).open("rb")
    except OSError as error:
        raise NightloopError(
            Fault(f"landed file {file.path}", "a readable file", type(error).__name__, "check the landing zone")
        ) from error
