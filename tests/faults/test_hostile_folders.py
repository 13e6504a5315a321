"""Hostile folders are refused with file and place, before anything runs."""

import shutil
from pathlib import Path

import pytest

from nightloop.fault import NightloopError
from nightloop.folders.loading import load_source
from nightloop.folders.validation import validate_folders
from tests.faults.restaurant import FOLDERS

SOURCE = "sources/visits/source.yaml"


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    shutil.copytree(FOLDERS, tmp_path / "folders")
    return tmp_path / "folders"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param("name: visits", 'name: visits"; DROP TABLE x --', "name", id="SQL in a name"),
        pytest.param("name: visits", "name: ../visits", "name", id="a path as a name"),
        pytest.param("  guests:", '  "gu`ests":', "gu`ests", id="a backtick in a column"),
        pytest.param("  guests:", '  "guests) FROM x --":', "expected a column of raw", id="SQL in a column"),
        pytest.param("keys: [visit_id]", "keys: ['visit_id; --']", "visit_id; --", id="SQL in a key"),
        pytest.param("uri: visits", "uri: ../../etc", "uri", id="a path out of the landing zone"),
        pytest.param(
            "tombstone: is_cancelled", "tombstone: 'true) OR (1=1; DROP TABLE x'", "tombstone", id="SQL in a tombstone"
        ),
        pytest.param('schedule: "0 2 * * *"', 'schedule: "{{ var.value.secret }}"', "schedule", id="a template"),
    ],
)
def test_a_hostile_source_is_refused(folders: Path, old: str, new: str, expected: str) -> None:
    path = folders / SOURCE
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    said = "\n".join(str(fault) for fault in validate_folders((folders,)))
    assert expected in said
    assert SOURCE in said or "visits" in said


def test_a_bomb_of_aliases_is_refused_at_once(folders: Path) -> None:
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    (folders / SOURCE).write_text(bomb)
    with pytest.raises(NightloopError, match="anchor or alias"):
        load_source("visits", (folders,))
