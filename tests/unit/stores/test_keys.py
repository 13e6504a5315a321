"""Keys are known by name; a rotation keeps the key that was."""

from pathlib import Path

import pytest

from nightloop.fault import NightloopError
from nightloop.privacy.keyed import key_id
from nightloop.stores.keys import load_certificate_key, load_key_ring, rotate_key


def test_rotated_key_stays_known(tmp_path: Path) -> None:
    first = load_key_ring(tmp_path, {}).current
    second = rotate_key(tmp_path, {})
    third = rotate_key(tmp_path, {})
    assert first != second.current != third.current
    assert third.retired == (second.current, first)
    assert third.find(key_id(first)) == first
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    with pytest.raises(NightloopError, match="no such key"):
        third.find("0" * 12)


def test_keys_of_the_environment_are_the_operators(tmp_path: Path) -> None:
    environment = {"NIGHTLOOP_PII_KEY": "k" * 32, "NIGHTLOOP_PII_OLD_KEYS": f"{'o' * 32} {'k' * 32}"}
    assert load_key_ring(tmp_path, environment).retired == (b"o" * 32,)
    with pytest.raises(NightloopError, match="NIGHTLOOP_PII_OLD_KEYS"):
        rotate_key(tmp_path, environment)


def test_certificate_key_is_drawn_once(tmp_path: Path) -> None:
    assert load_certificate_key(tmp_path) == load_certificate_key(tmp_path) != load_key_ring(tmp_path, {}).current


def test_key_is_drawn_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    key = load_key_ring(tmp_path, {}).current
    assert (load_key_ring(tmp_path, {}).current, len(key)) == (key, 64)
    assert load_key_ring(tmp_path, {"NIGHTLOOP_PII_KEY": "k" * 32}).current == b"k" * 32
    (tmp_path / "pii.key").chmod(0o644)
    with pytest.raises(NightloopError, match="chmod 600"):
        load_key_ring(tmp_path, {})


def test_short_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NightloopError, match="NIGHTLOOP_PII_KEY"):
        load_key_ring(tmp_path, {"NIGHTLOOP_PII_KEY": "short"})
