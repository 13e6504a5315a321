"""Parsing is light, complete, and survives a broken folder."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FOLDERS = Path(__file__).parent / "folders"
FAMILIES = ("source", "nightly", "retrain", "bootstrap", "operations")
BUDGET_SECONDS = 2.0


def test_every_module_parses(parsed: dict[str, Any]) -> None:
    assert parsed["import_errors"] == {}
    assert {dag["file"] for dag in parsed["dags"].values()} == set(FAMILIES)


def test_parse_imports_nothing_heavy(parsed: dict[str, Any]) -> None:
    assert parsed["forbidden"] == []


def test_parse_is_quick(parsed: dict[str, Any], record_property: Callable[[str, object], None]) -> None:
    record_property("parse_seconds", parsed["seconds"])
    assert parsed["seconds"] <= BUDGET_SECONDS


def test_every_packaged_folder_has_its_dags(dags: dict[str, Any]) -> None:
    include = Path(__file__).parents[2] / "include"
    sources = {f"source_{folder.parent.name}" for folder in include.glob("sources/*/source.yaml")}
    names = [folder.parent.name for folder in include.glob("use_cases/*/use_case.yaml")]

    assert sources | {f"{family}_{name}" for family in FAMILIES[1:4] for name in names} <= set(dags)


@pytest.mark.slow
@pytest.mark.parametrize("dag_id", ["source_bookings", "nightly_delay", "operations_lake_upkeep"])
def test_a_task_loads_its_own_dag_only(dag_id: str, parse: Callable[..., dict[str, Any]]) -> None:
    assert list(parse(FOLDERS, dag_id=dag_id)["dags"]) == [dag_id]


@pytest.fixture(scope="module")
def broken(parse: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The DAGs of a folder whose source `weather` has two faults."""
    folders = tmp_path_factory.mktemp("broken") / "folders"
    shutil.copytree(FOLDERS, folders)
    file = folders / "sources" / "weather" / "source.yaml"
    file.write_text(file.read_text().replace("format: csv", "format: xml").replace("keys: [id]", "keys: []"))
    shutil.copytree(folders / "use_cases" / "delay", folders / "use_cases" / "lonely")
    file = folders / "use_cases" / "lonely" / "use_case.yaml"
    text = file.read_text().replace("name: delay", "name: lonely").replace("weather: {join: {id: id}}", "")
    file.write_text(text)
    return parse(folders)


@pytest.mark.slow
def test_a_broken_folder_takes_no_other_dag_away(broken: dict[str, Any]) -> None:
    assert {"source_bookings", "nightly_lonely", "retrain_lonely", "operations_lake_upkeep"} <= set(broken["dags"])
    assert not {"source_weather", "nightly_delay"} & set(broken["dags"])


@pytest.mark.slow
def test_a_broken_folder_shows_every_fault_as_an_import_error(broken: dict[str, Any]) -> None:
    assert list(broken["import_errors"]) == ["broken_folders"]
    error = broken["import_errors"]["broken_folders"]
    assert "weather/source.yaml" in error
    assert "'xml'" in error
    assert "keys" in error
