"""Reports are written whole, below their own folder."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightloop.fault import NightloopError
from nightloop.run import RunKey
from nightloop.stores.reports import Reports

KEY = RunKey("taxi", datetime(2025, 1, 1, 2, tzinfo=UTC))


@pytest.mark.parametrize("content", [pytest.param("<p>é</p>", id="text"), pytest.param("é".encode(), id="bytes")])
def test_report_replaces_its_predecessor_and_leaves_nothing_else(tmp_path: Path, content: str | bytes) -> None:
    reports = Reports(tmp_path)
    reports.write("drift", KEY, "report.html", "old")
    path = reports.write("drift", KEY, "report.html", content)
    assert path == tmp_path / "drift/taxi/20250101T0200Z/main/report.html"
    assert "é" in path.read_text()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["../x.html", "a/b", "..", "", "/x"])
def test_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(NightloopError, match="plain names"):
        Reports(tmp_path).write("drift", KEY, name, "x")


def test_reports_of_a_scope_are_found_by_kind_and_night(tmp_path: Path) -> None:
    reports, later = Reports(tmp_path), RunKey(KEY.scope, KEY.as_of.replace(year=2026), KEY.variant)
    paths = [reports.write("drift", key, "a.html", "x") for key in (KEY, later)]
    reports.write("erasure", later, "b.json", "x")
    reports.write("drift", RunKey("other", later.as_of), "a.html", "x")
    assert reports.find(KEY.scope, KEY.night, but="erasure") == paths
    assert reports.find(KEY.scope, later.night, but="erasure") == paths[1:]
