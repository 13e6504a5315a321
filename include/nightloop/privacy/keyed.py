"""Keyed hashes of personal data, one value at a time, and the public name of a key."""

import hashlib
import hmac


def key_id(key: bytes) -> str:
    """Return the public name of a key: equal names mean that hashed columns join."""
    return hashlib.sha256(b"nightloop pii key id" + key).hexdigest()[:12]


def hash_text(text: str, key: bytes) -> str:
    """Return HMAC-SHA-256 (RFC 2104) in hex over the UTF-8 text, as `treat_columns` stores it.

    >>> hash_text("what do ya want for nothing?", b"Jefe")[:16]
    '5bdcc146bf60754e'
    """
    return hmac.digest(key, text.encode(), hashlib.sha256).hex()
