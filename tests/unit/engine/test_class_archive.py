"""A server maps the classes that set-up archived, and set-up says where there are none."""

from pathlib import Path

import psutil
import pytest

from nightloop.engine.server import CLASS_ARCHIVE, ConnectServer
from nightloop.setup import class_archive


def test_a_server_maps_the_archive_that_set_up_made(spark_server: ConnectServer) -> None:
    assert class_archive.ARCHIVE == CLASS_ARCHIVE
    port = f"spark.connect.grpc.binding.port={spark_server.port}"
    servers = [one for one in psutil.process_iter(["cmdline"]) if port in " ".join(one.info["cmdline"] or ())]
    mapped = [one.pid for one in servers if str(CLASS_ARCHIVE) in Path(f"/proc/{one.pid}/maps").read_text()]
    assert len(mapped) == 1, "see .cache/logs/archive.log; `make setup` makes it anew"


def test_set_up_makes_it_anew_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_archive, "ARCHIVE", tmp_path / "none.jsa")
    assert class_archive.name_archive() != class_archive.name_archive()


def test_set_up_goes_on_without_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_archive, "ARCHIVE", tmp_path / "none.jsa")
    monkeypatch.setattr(class_archive.sys, "executable", "/bin/false")
    assert class_archive.make_archive().startswith("none, so Spark starts more slowly")
