"""The columns of files against their contract."""

import pytest
from pydantic import ValidationError

from nightloop.etl.contract import check_columns
from nightloop.etl.header import FoundColumn
from nightloop.etl.params import Column, ReadParams
from nightloop.fault import NightloopError

PARAMS = ReadParams(
    format="csv",
    columns={"id": Column(type="int", required=True), "note": Column(type="string")},
    ignored_columns=("x",),
)
TYPED = PARAMS.model_copy(
    update={
        "format": "parquet",
        "columns": {"id": Column(type="bigint", widened_from=("int",)), "fare": Column(type="double")},
    }
)


def _texts(*names: str) -> list[FoundColumn]:
    return [FoundColumn(name, texts=("1",)) for name in names]


def _typed(**types: str) -> list[FoundColumn]:
    return [FoundColumn(name, dtype) for name, dtype in types.items()]


def _refusal(found: list[FoundColumn], params: ReadParams) -> str:
    with pytest.raises(NightloopError) as caught:
        check_columns("f.csv", found, params)
    (fault,) = caught.value.faults
    assert fault.where == "columns of f.csv"
    return fault.found


def test_new_column_is_kept_aside_and_an_ignored_one_is_not_reported() -> None:
    assert check_columns("f", _texts("note", "x", "id", "new"), PARAMS).added == ("new",)


@pytest.mark.parametrize(
    ("columns", "remarks"),
    [
        pytest.param(("id",), ["missing"], id="missing"),
        pytest.param(("id", "remark"), ["missing", "new, perhaps renamed"], id="renamed"),
        pytest.param(("id", "note", "id"), ["twice"], id="twice"),
        pytest.param(("id;note",), ["missing", "missing", "new, perhaps renamed"], id="wrong delimiter"),
        pytest.param((), ["missing", "missing"], id="empty file"),
    ],
)
def test_other_columns_are_refused(columns: tuple[str, ...], remarks: list[str]) -> None:
    _, head, *lines = _refusal(_texts(*columns), PARAMS).splitlines()
    assert head.split() == ["expected", "|", "found"]
    told = [cells[2].strip() for line in lines if len(cells := line.split("|")) == 3]
    assert sorted(told) == sorted(remarks)


def test_both_schemas_stand_side_by_side() -> None:
    found = _refusal(_typed(id="string", fare_usd="double", day="date"), TYPED)
    assert found == (
        "others:\n"
        "  expected    | found\n"
        "  id bigint   | id string       | retyped\n"
        "  fare double | -               | missing\n"
        "  -           | fare_usd double | new, perhaps renamed\n"
        "  -           | day date        | new, perhaps renamed\n"
    )


def test_a_type_may_be_widened_where_the_contract_declares_it() -> None:
    assert check_columns("f", _typed(id="int", fare="double"), TYPED).types == ("int", "double")
    assert check_columns("f", _typed(id="bigint", fare="double"), TYPED).types == ("bigint", "double")
    assert "fare int" in _refusal(_typed(id="bigint", fare="int"), TYPED)


def test_timestamps_that_spark_cannot_read_are_refused_also_in_a_new_column() -> None:
    assert "microseconds" in _refusal(_typed(id="int", fare="double", at="timestamp[ns, tz=UTC]"), TYPED)


@pytest.mark.parametrize(
    ("declared", "texts", "found"),
    [
        pytest.param("int", ["12.5"] * 20, "double", id="fractions"),
        pytest.param("int", ["5000000000"] * 20, "bigint", id="too long"),
        pytest.param("date", ["yesterday"] * 20, "string", id="words"),
        pytest.param("boolean", ["2"] * 19 + ["x"], "string", id="neither"),
        pytest.param("timestamp", ["1.5"] * 30, "double", id="numbers for instants"),
    ],
)
def test_text_of_another_type_throughout_is_retyped(declared: str, texts: list[str], found: str) -> None:
    params = PARAMS.model_copy(update={"columns": {"v": Column.model_validate({"type": declared})}})
    refused = _refusal([FoundColumn("v", texts=tuple(texts))], params)
    assert f"v {declared} " in refused
    assert f"v {found} | retyped" in " ".join(refused.split())
    assert texts[0] not in refused


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param(["x"] * 19, id="too few to tell"),
        pytest.param(["x"] * 99 + ["7"], id="one of the declared type"),
        pytest.param([], id="none"),
    ],
)
def test_single_wrong_texts_are_left_to_the_row_rules(texts: list[str]) -> None:
    found = [FoundColumn("id", texts=tuple(texts)), FoundColumn("note")]
    assert check_columns("f", found, PARAMS).added == ()


def test_json_lines_may_leave_out_optional_keys_only() -> None:
    params = PARAMS.model_copy(update={"format": "jsonl"})
    schema = check_columns("f", _texts("id", "new"), params)
    assert (schema.added, schema.absent) == (("new",), ("note",))
    assert "missing" in _refusal(_texts("note"), params)


@pytest.mark.parametrize(("wide", "narrow"), [("int", "bigint"), ("double", "bigint"), ("string", "int")])
def test_only_lossless_widenings_can_be_declared(wide: str, narrow: str) -> None:
    with pytest.raises(ValidationError, match=f"not from {narrow}"):
        Column.model_validate({"type": wide, "widened_from": [narrow]})
