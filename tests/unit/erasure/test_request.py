"""A request is private and names people by columns that tell them apart; a journal takes up where it ended."""

import json
from pathlib import Path

import pytest

from nightloop.erasure.request import Inbox, Journal, read_identifiers
from nightloop.fault import NightloopError
from nightloop.folders.loading import load_source
from nightloop.settings import CHECKOUT

SOURCE = load_source("loan_applications", (CHECKOUT / "include",))


def put(folder: Path, text: str, mode: int = 0o600) -> Inbox:
    path = folder / "case-1.csv"
    path.write_text(text)
    path.chmod(mode)
    return Inbox(folder)


def test_columns_and_people_are_read(tmp_path: Path) -> None:
    inbox = put(tmp_path, "\ufeffnational_id,email\nN1, a@b.example \nN2,\n")
    request = inbox.read("case-1", SOURCE)
    assert (request.subjects, request.columns) == (2, {"national_id": {"N1", "N2"}, "email": {"a@b.example"}})
    inbox.close("case-1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        pytest.param("national_id\nN1\n", 0o644, "chmod 600", id="others may read it"),
        pytest.param("nobody_column\nN1\n", 0o600, "a header that is none of them", id="unknown column"),
        pytest.param("phone\n+1-555-0100\n", 0o600, "still tells people apart", id="dropped column"),
        pytest.param("national_id\n\n", 0o600, "no value", id="nobody"),
    ],
)
def test_wrong_requests_are_refused_without_telling_a_value(tmp_path: Path, text: str, mode: int, said: str) -> None:
    with pytest.raises(NightloopError, match=said) as raised:
        put(tmp_path, text, mode).read("case-1", SOURCE)
    assert "N1" not in str(raised.value)
    assert "555" not in str(raised.value)


def test_absent_file_and_a_path_for_a_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NightloopError, match="chmod 600"):
        Inbox(tmp_path).read("case-1", SOURCE)
    with pytest.raises(NightloopError, match="name of the request") as raised:
        Inbox(tmp_path).read("../Ada Archer", SOURCE)
    assert "Ada" not in str(raised.value)


def test_step_is_done_once_however_many_attempts(tmp_path: Path) -> None:
    path, done = tmp_path / "case-1.journal", []
    for _ in range(2):
        journal = Journal(path)
        assert journal.once("lake/a", lambda: done.append(1) or len(done)) == 1
        journal.once("landed/b", lambda: "x")
    journal.forget("lake/")
    assert Journal(path).results == {"landed/b": "x"}
    assert path.stat().st_mode & 0o077 == 0


def test_short_identifiers_are_refused_by_their_number(tmp_path: Path) -> None:
    path = tmp_path / "people.txt"
    path.touch(mode=0o600)
    path.write_text("NID-4711\nA1\n12345678\n")
    with pytest.raises(NightloopError, match="number 2, 3"):
        read_identifiers(path)
    path.write_text("NID-4711\n\n")
    assert json.dumps(read_identifiers(path)) == '["NID-4711"]'
