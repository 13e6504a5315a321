"""Objects of S3: listed page by page, read by ranges, written whole; what fails on the way is tried again.

Credentials, region and endpoint come from the environment (`AWS_*`), as for every client of AWS.
"""

import io
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, cast

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)

from nightloop.fault import Fault, NightloopError, TransientError

_ATTEMPTS = 5
_CONNECT_SECONDS, _READ_SECONDS = 10, 60
_FIRST_WAIT_SECONDS = 0.2
_RANGE_BYTES = 8 << 20
_HEADS_AT_ONCE = 8
_REPLACED = "PreconditionFailed"
# a HEAD has no body to name its refusal, only a status
_REFUSED = {"NoSuchBucket", "NoSuchKey", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403", "404"}
_NO_ACCESS = (NoCredentialsError, PartialCredentialsError, NoRegionError)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as it was listed; the ETag names this content, whatever replaces it later."""

    address: str
    etag: str
    size: int
    modified_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)


@lru_cache(maxsize=1)
def open_client() -> Any:
    """Return the process's client: five attempts per request, with growing waits between them."""
    import boto3
    from botocore.config import Config

    retries = {"mode": "standard", "total_max_attempts": _ATTEMPTS}
    return boto3.client(
        "s3", config=Config(retries=retries, connect_timeout=_CONNECT_SECONDS, read_timeout=_READ_SECONDS)
    )


def list_objects(folder: str) -> list[StoredObject]:
    """Return the objects below an address with their metadata.

    Raises:
        NightloopError: no access, or no such bucket.
        TransientError: S3 does not answer, or answers with errors of its own, after all attempts.
    """
    bucket, prefix = split_address(f"{folder.rstrip('/')}/")
    client = open_client()

    def describe(entry: Mapping[str, Any]) -> StoredObject:
        # a listing carries no metadata
        metadata = client.head_object(Bucket=bucket, Key=entry["Key"])["Metadata"]
        address = f"s3a://{bucket}/{entry['Key']}"
        return StoredObject(address, entry["ETag"], entry["Size"], entry["LastModified"].astimezone(UTC), metadata)

    with _named_errors(folder), ThreadPoolExecutor(_HEADS_AT_ONCE) as pool:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        entries = [entry for page in pages for entry in page.get("Contents", ()) if not entry["Key"].endswith("/")]
        return list(pool.map(describe, entries))


def open_object(address: str, etag: str, size: int) -> IO[bytes]:
    """Open one object's content for reading and seeking.

    Raises:
        TransientError: while reading: S3 does not answer, or another object took this one's place.
    """
    return cast("IO[bytes]", io.BufferedReader(_ObjectStream(address, etag, size), _RANGE_BYTES))


def put_file(file: Path, address: str, metadata: Mapping[str, str]) -> None:
    """Upload a file, a large one in parts; it shows when it is whole. An object that is there already stays."""
    from boto3.exceptions import S3UploadFailedError

    bucket, key = split_address(address)
    client = open_client()
    with _named_errors(address):
        # of all keys that begin so the key itself sorts first
        if client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", [{}])[0].get("Key") == key:
            return
        try:
            client.upload_file(str(file), bucket, key, ExtraArgs={"Metadata": dict(metadata)})
        except S3UploadFailedError as error:
            raise TransientError(f"{address} could not be written: {error}") from error


def replace_object(content: bytes, address: str, metadata: Mapping[str, str]) -> None:
    """Give an object other content and metadata."""
    bucket, key = split_address(address)
    with _named_errors(address):
        open_client().put_object(Bucket=bucket, Key=key, Body=content, Metadata=dict(metadata))


def split_address(address: str) -> tuple[str, str]:
    """Return the bucket and the key of an address.

    >>> split_address("s3a://landing/trips/a.csv")
    ('landing', 'trips/a.csv')
    """
    bucket, _, key = address.partition("://")[2].partition("/")
    return bucket, key


class _ObjectStream(io.RawIOBase):
    """An object as a file: each read is a request for its range, and only of the content that was listed."""

    def __init__(self, address: str, etag: str, size: int) -> None:
        super().__init__()
        self._address, self._etag, self._size, self._position = address, etag, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self._size - self._position)
        if length <= 0:
            return 0
        buffer[:length] = self._fetch(self._position, self._position + length - 1)
        self._position += length
        return length

    def _fetch(self, first: int, last: int) -> bytes:
        """Return bytes first to last. The client tries a failed request again; a body that breaks off, we do."""
        bucket, key = split_address(self._address)
        wanted = {"Bucket": bucket, "Key": key, "Range": f"bytes={first}-{last}", "IfMatch": self._etag}
        with _named_errors(self._address):
            for attempt in range(_ATTEMPTS - 1):
                try:
                    return cast("bytes", open_client().get_object(**wanted)["Body"].read())
                except (HTTPClientError, IncompleteReadError):
                    time.sleep(_FIRST_WAIT_SECONDS * 2**attempt)
            return cast("bytes", open_client().get_object(**wanted)["Body"].read())


@contextmanager
def _named_errors(where: str) -> Iterator[None]:
    """Tell what a person must mend from what a later attempt may find mended."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _REFUSED:
            raise NightloopError(Fault(where, "access to the bucket", code, "check address and credentials")) from error
        if code == _REPLACED:
            raise TransientError(f"{where} was replaced while it was read") from error
        raise TransientError(f"S3 did not take part: {where}: {code}") from error
    except _NO_ACCESS as error:
        remedy = "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION"
        raise NightloopError(Fault(where, "credentials of S3", type(error).__name__, remedy)) from error
    except BotoCoreError as error:
        raise TransientError(f"S3 did not take part: {where}: {type(error).__name__}") from error
