"""Traces leave the files that may lose them; a file that goes by itself meanwhile is nobody's fault."""

from pathlib import Path

import pytest

from nightloop.erasure import sweep
from nightloop.privacy.traces import Traces, compile_traces
from nightloop.settings import Settings
from nightloop.stores.trace_search import TraceHit, search_folder

TRACES = compile_traces(["Ada-4711"])


def test_each_file_is_treated_as_its_kind_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report, log, model = tmp_path / "reports" / "a.html", tmp_path / "logs" / "a.log", tmp_path / "work" / "model.onnx"
    for path in (report, log, model):
        path.parent.mkdir()
        path.write_text("of Ada-4711 and Bob-4712")

    def search(top: Path, traces: Traces, but: list[Path]) -> list[TraceHit]:
        gone = [tmp_path / "work" / "attempt-1" / "rows.txt", tmp_path / "logs" / "rotated.log"]
        return [*(TraceHit(path, "content") for path in gone), *search_folder(top, traces, but)]

    monkeypatch.setattr(sweep, "search_folder", search)
    swept = sweep.sweep_folder(Settings.from_environment({"NIGHTLOOP_HOME": str(tmp_path)}), TRACES)
    assert swept.treated == {str(report): "removed", str(log): "masked"}
    assert [hit.path for hit in swept.left] == [model]
    assert not report.exists()
    assert log.read_text() == "of ******** and Bob-4712"
