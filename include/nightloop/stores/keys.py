"""The secrets under which personal data is hashed: from the environment, or files that only their owner may read."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nightloop.fault import Fault, NightloopError
from nightloop.privacy.keyed import key_id

KEY_VARIABLE = "NIGHTLOOP_PII_KEY"
OLD_KEYS_VARIABLE = "NIGHTLOOP_PII_OLD_KEYS"
_FILE_NAME, _CERTIFICATE_FILE = "pii.key", "certificate.key"
_KEY_BYTES = 32


@dataclass(frozen=True)
class KeyRing:
    """The key of new nights, and those that earlier nights were hashed under, newest first."""

    current: bytes
    retired: tuple[bytes, ...] = ()

    @property
    def by_id(self) -> dict[str, bytes]:
        """Every known key by its public name, the current one first."""
        return {key_id(key): key for key in (self.current, *self.retired)}

    def find(self, name: str) -> bytes:
        """Return the key of a name.

        Raises:
            NightloopError: nobody gave it back: what was hashed under it cannot be hashed again.
        """
        known = self.by_id
        if name not in known:
            remedy = f"put its file pii-{name}.key back into the state folder, or add it to {OLD_KEYS_VARIABLE}"
            raise NightloopError(Fault(f"PII key {name}", f"one of {', '.join(known)}", "no such key", remedy))
        return known[name]


def load_key_ring(home: Path, environment: Mapping[str, str] | None = None) -> KeyRing:
    """Return the known keys; without `NIGHTLOOP_PII_KEY` the current one is drawn once and kept in `home`, mode 0600.

    Retired keys stand in `NIGHTLOOP_PII_OLD_KEYS`, apart by blanks, and in the files `pii-<key id>.key` of `home`.

    Raises:
        NightloopError: others may read a file, or a key is too short to be one.
    """
    env = os.environ if environment is None else environment
    text = env.get(KEY_VARIABLE)
    current = text.encode() if text else _read_or_create(home / _FILE_NAME)
    files = sorted(home.glob("pii-*.key"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    retired = [old.encode() for old in env.get(OLD_KEYS_VARIABLE, "").split()] + [_read_private(path) for path in files]
    for key in (current, *retired):
        if len(key) < _KEY_BYTES // 2:
            raise NightloopError(
                Fault(KEY_VARIABLE, f"at least {_KEY_BYTES // 2} characters", f"{len(key)}", "draw a longer key")
            )
    return KeyRing(current, tuple(dict.fromkeys(key for key in retired if key != current)))


def rotate_key(home: Path, environment: Mapping[str, str] | None = None) -> KeyRing:
    """Draw a new key for the nights to come and keep the one before it for those that are.

    Raises:
        NightloopError: the key comes from the environment, where only the operator can change it.
    """
    env = os.environ if environment is None else environment
    if env.get(KEY_VARIABLE):
        remedy = f"move its value to {OLD_KEYS_VARIABLE} and set {KEY_VARIABLE} to a new one"
        raise NightloopError(Fault(KEY_VARIABLE, "a key that Nightloop keeps", "a key of the environment", remedy))
    before = load_key_ring(home, env).current
    # a kill after it leaves no key, and whoever asks next draws one; a new key first would cover the old one
    (home / _FILE_NAME).rename(home / f"pii-{key_id(before)}.key")
    return load_key_ring(home, env)


def load_certificate_key(home: Path) -> bytes:
    """Return the key under which certificates of erasure name subjects; it is drawn once and never rotated."""
    return _read_or_create(home / _CERTIFICATE_FILE)


def _read_or_create(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    if not path.exists():
        # private before the key is in it; linked, not renamed: of two who draw at once the first one's key stands,
        # and neither reads it half-written
        partial.touch(mode=0o600)
        partial.write_text(secrets.token_hex(_KEY_BYTES))
        try:
            os.link(partial, path)
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    return _read_private(path)


def _read_private(path: Path) -> bytes:
    if path.stat().st_mode & 0o077:
        raise NightloopError(
            Fault(str(path), "mode 0600", oct(path.stat().st_mode & 0o777), f"run `chmod 600 {path.name}`")
        )
    return path.read_bytes().strip()
