"""A subject's identifiers hold wherever columns are linked, and nowhere else."""

import pyarrow as pa

from nightloop.privacy.subject import Place, Subject, match_documents, match_record, match_rows

APPLICATION, SPINE, STATUS = (
    Place("clean", "loans", "id"),
    Place("spine", "risk", "loan"),
    Place("clean", "status", "id"),
)
OTHER = Place("clean", "weather", "id")


def test_what_is_learned_in_one_place_holds_in_linked_ones() -> None:
    subject = Subject([(APPLICATION, SPINE), (STATUS, SPINE)])
    assert subject.learn(STATUS, ["a", ""])
    assert not subject.learn(APPLICATION, ["a"])
    assert subject.columns("clean", "loans") == {"id": {"a"}}
    assert (subject.owners("spine"), subject.owners("clean")) == (["risk"], ["loans", "status"])
    assert OTHER not in subject.values


def test_rows_match_as_text_whatever_their_type() -> None:
    rows = pa.table({"id": [1, 2, None], "mail": [" a ", None, "b"]})
    assert match_rows(rows, {"id": {"2"}, "mail": {"a"}, "absent": {"x"}}).to_pylist() == [True, True, False]
    assert match_rows(rows, {}).to_pylist() == [False] * 3


def test_documents_and_records_match_by_entry() -> None:
    assert list(match_documents(['{"id": 7}', '{"note": "7"}', None], {"id": {"7"}})) == [True, False, False]
    forms = {"id": lambda text: (text.upper(),)}
    assert match_record({"id": " a "}, {"id": {"A"}}, forms)
    assert not match_record({"other": "A"}, {"id": {"A"}}, forms)
    assert not match_record({"id": None}, {"id": {"A"}}, {})
