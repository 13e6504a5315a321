"""The secret under which personal data is hashed: from the environment, or a file only its owner may read."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from nightloop.fault import Fault, NightloopError

KEY_VARIABLE = "NIGHTLOOP_PII_KEY"
_FILE_NAME = "pii.key"
_KEY_BYTES = 32


def load_pii_key(home: Path, environment: Mapping[str, str] | None = None) -> bytes:
    """Return the key; without `NIGHTLOOP_PII_KEY` it is drawn once and kept in `home`, mode 0600.

    Raises:
        NightloopError: others may read the file, or the key is too short to be one.
    """
    text = (os.environ if environment is None else environment).get(KEY_VARIABLE)
    key = text.encode() if text else _read_or_create(home / _FILE_NAME)
    if len(key) < _KEY_BYTES // 2:
        raise NightloopError(
            Fault(KEY_VARIABLE, f"at least {_KEY_BYTES // 2} characters", f"{len(key)}", "draw a longer key")
        )
    return key


def _read_or_create(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    if not path.exists():
        partial.touch(mode=0o600)
        partial.write_text(secrets.token_hex(_KEY_BYTES))
        try:
            os.link(partial, path)
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    if path.stat().st_mode & 0o077:
        raise NightloopError(
            Fault(str(path), "mode 0600", oct(path.stat().st_mode & 0o777), f"run `chmod 600 {path.name}`")
        )
    return path.read_bytes().strip()
