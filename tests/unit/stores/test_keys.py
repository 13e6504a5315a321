"""The key of personal data."""

from pathlib import Path

import pytest

from nightloop.fault import NightloopError
from nightloop.stores.keys import load_pii_key


def test_key_is_drawn_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    key = load_pii_key(tmp_path, {})
    assert (load_pii_key(tmp_path, {}), len(key)) == (key, 64)
    assert load_pii_key(tmp_path, {"NIGHTLOOP_PII_KEY": "k" * 32}) == b"k" * 32
    (tmp_path / "pii.key").chmod(0o644)
    with pytest.raises(NightloopError, match="chmod 600"):
        load_pii_key(tmp_path, {})


def test_short_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NightloopError, match="NIGHTLOOP_PII_KEY"):
        load_pii_key(tmp_path, {"NIGHTLOOP_PII_KEY": "short"})
