"""Jars are installed only with their pinned content."""

import hashlib
from pathlib import Path

import pytest

from nightloop.setup import jars

CONTENT = b"a jar"
LINE = f"io.delta:delta-storage:4.4.0 {hashlib.sha256(CONTENT).hexdigest()}\n"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "jars.lock"
    path.write_text(f"# a comment\n{LINE}")
    return path


def serve(content: bytes):  # type: ignore[no-untyped-def]
    def retrieve(missing, _ivy, folder):  # type: ignore[no-untyped-def]
        for jar in missing:
            (folder / jar.file_name).write_bytes(content)

    return retrieve


def test_fetched_jar_is_installed_and_kept_for_the_next_checkout(
    tmp_path: Path, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jars, "_retrieve", serve(CONTENT))
    assert jars.fetch_jars(tmp_path / "a", tmp_path, tmp_path / "shared", lock) == 1
    assert (tmp_path / "a" / "delta-storage-4.4.0.jar").read_bytes() == CONTENT
    monkeypatch.setattr(jars, "_retrieve", serve(b"nothing may be fetched now"))
    assert jars.fetch_jars(tmp_path / "b", tmp_path, tmp_path / "shared", lock) == 0
    assert jars.fetch_jars(tmp_path / "a", tmp_path, None, lock) == 0


def test_other_content_is_refused_and_not_installed(
    tmp_path: Path, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jars, "_retrieve", serve(b"forged"))
    with pytest.raises(RuntimeError, match="expected SHA-256"):
        jars.fetch_jars(tmp_path / "a", tmp_path, None, lock)
    assert not list((tmp_path / "a").glob("*.jar"))


def test_damaged_jar_is_fetched_again(tmp_path: Path, lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "_retrieve", serve(CONTENT))
    jars.fetch_jars(tmp_path / "a", tmp_path, None, lock)
    (tmp_path / "a" / "delta-storage-4.4.0.jar").write_bytes(b"half")
    assert jars.fetch_jars(tmp_path / "a", tmp_path, None, lock) == 1


def test_lock_pins_the_delta_of_requirements() -> None:
    pinned = {jar.artifact: jar.version for jar in jars.read_lock()}
    assert pinned["delta-spark_4.2_2.13"] == "4.4.0"
