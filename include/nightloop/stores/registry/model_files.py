"""Read stored models without trusting them: the digest must be the ledger's and the content ONNX, never a pickle."""

import hashlib
from pathlib import Path
from urllib.parse import unquote, urlsplit

from nightloop.fault import Fault, NightloopError

_ONNX_MAGIC = b"\x08"  # the tag of `ir_version`, the first field of an ONNX model
_REFUSED = {
    b"\x80": "a Python pickle",
    b"PK\x03\x04": "a zip archive (PyTorch, NumPy or pickle inside)",
    b"\x1f\x8b": "a gzip file",
    b"\x78\x9c": "a zlib stream (joblib)",
    b"\x89HDF": "an HDF5 file",
}


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of a model's bytes, in hex."""
    return hashlib.sha256(content).hexdigest()


def read_model(uri: str, digest: str) -> bytes:
    """Return the bytes of a stored ONNX model, from a path, a `file://` or an `s3://` address.

    Raises:
        NightloopError: there is no such file, its digest is not the registered one, or it is no ONNX model.
    """
    content = _read(uri)
    faults = []
    if not content.startswith(_ONNX_MAGIC):
        faults.append(Fault(f"model {uri}", "an ONNX model", _name_content(content), "register an ONNX model"))
    if digest_of(content) != digest:
        remedy = "the file was changed after it was registered: restore it, or roll back to another version"
        faults.append(Fault(f"model {uri}", f"sha256 {digest}", f"sha256 {digest_of(content)}", remedy))
    if faults:
        raise NightloopError(faults)
    return content


def _read(uri: str) -> bytes:
    parts = urlsplit(uri)
    if parts.scheme == "s3":
        return _read_s3(uri, parts.netloc, parts.path.lstrip("/"))
    if parts.scheme not in ("", "file"):
        raise NightloopError(Fault(f"model {uri}", "a path, file:// or s3://", f"{parts.scheme}://"))
    path = Path(unquote(parts.path) if parts.scheme else uri)
    if not path.is_file():
        raise NightloopError(Fault(f"model {uri}", "a file", "none", "restore the artifacts, or roll back"))
    return path.read_bytes()


def _read_s3(uri: str, bucket: str, key: str) -> bytes:
    import boto3
    from botocore.exceptions import ClientError

    try:
        content = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        found = error.response["Error"]["Code"]
        raise NightloopError(Fault(f"model {uri}", "an object", found, "restore the artifacts, or roll back")) from None
    return bytes(content)


def _name_content(content: bytes) -> str:
    for magic, name in _REFUSED.items():
        if content.startswith(magic):
            return name
    return "something else" if content else "an empty file"
