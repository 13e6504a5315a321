"""Broken folders: every fault of each, with file, path, expected and found, and never a traceback."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nightloop.fault import NightloopError
from nightloop.folders.loading import load_use_case, load_use_cases, read_document
from nightloop.folders.validation import validate_folders
from nightloop.settings import CHECKOUT

Break = Callable[[Path], None]


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A copy of the packaged folders, to be broken."""
    for kind in ("sources", "use_cases"):
        shutil.copytree(CHECKOUT / "include" / kind, tmp_path / kind)
    return tmp_path


def replace(file: str, *changes: tuple[str, str]) -> Break:
    def change(root: Path) -> None:
        path = root / file
        text = path.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        path.write_text(text)

    return change


def append(file: str, text: str) -> Break:
    def change(root: Path) -> None:
        with (root / file).open("a") as stream:
            stream.write(text)

    return change


def remove(file: str) -> Break:
    return lambda root: (root / file).unlink()


TAXI = "use_cases/taxi_duration/use_case.yaml"
LOAN = "use_cases/loan_default/use_case.yaml"
TRIPS = "sources/trips/source.yaml"


@pytest.mark.parametrize(
    ("breaks", "expected"),
    [
        pytest.param(
            [replace(TAXI, ("task: regression", "task: [regression"))],
            [(TAXI, ":6", "plain YAML", "expected ',' or ']'")],
            id="1 not YAML",
        ),
        pytest.param(
            [append(TAXI, "owner: me\n")],
            [(TAXI, ":50", "plain YAML", "`owner` a second time")],
            id="2 a key twice",
        ),
        pytest.param(
            [
                replace(
                    TAXI,
                    ("owner: dispatch@nightloop.example\n", ""),
                    ("ranks: 2", "rnks: 2"),
                    ("window_days: 28", "window_days: many"),
                    ("horizon: 1 day", "horizon: one day"),
                    ('"0 2 * * *"', '"0 26 * * *"'),
                )
            ],
            [
                (TAXI, "owner", "the entry `owner`", "nothing"),
                (TAXI, ":31 training.rnks", "window_days, judging_days", "unknown entry `rnks`"),
                (TAXI, ":28 training.window_days", "valid integer", "'many'"),
                (TAXI, ":25 label.horizon", "`12 months`", "'one day'"),
                (TAXI, ":5 schedule", "five fields", "'0 26 * * *'"),
            ],
            id="3 unknown, missing and mistyped entries",
        ),
        pytest.param(
            [
                replace(TAXI, ("weather: {join: {place:", "wether: {join: {place:")),
                replace("use_cases/taxi_duration/spine.sql", ("pickup_borough", "borough")),
            ],
            [
                (TAXI, ":12 sources.wether", "a source: bureau_records", "wether"),
                ("features.sql", ":18", "one of the views", "weather"),
                ("spine.sql", ":3", "a column of trips", "borough"),
                (TAXI, "sources.wether.join.place", "a column of spine.sql", "pickup_borough"),
            ],
            id="4 a source nobody has, a join column gone",
        ),
        pytest.param(
            [
                replace(TAXI, ("retention_days: 730", "retention_days: 29")),
                append(TRIPS, "retention_days: 63\n"),
                append("sources/loan_applications/source.yaml", "retention_days: 9999\n"),
            ],
            [
                (TAXI, ":49 retention_days", "at least 30 days", "29"),
                (TAXI, ":11 sources.trips", "at least 64 days", "63 days"),
                (LOAN, "sources.loan_applications", "lookback is unbounded", "9999 days"),
            ],
            id="a retention shorter than what reads it",
        ),
        pytest.param(
            [
                replace(LOAN, ("metric: roc_auc", "metric: mae"), ("{sex: {", "{race: {"), ("[housing,", "[sector,")),
                replace("use_cases/loan_default/features.sql", ("loan_applications.channel", "loan_applications.sex")),
            ],
            [
                (LOAN, "promotion.metric", "metric of a binary task: accuracy", "mae"),
                (LOAN, "promotion.fairness.race", "a protected attribute: age_group, sex", "race"),
                (LOAN, "promotion.slices", "a categorical feature: channel, housing, product, purpose", "sector"),
                (LOAN, "protected.0", "in the spine only", "`sex` in features.sql"),
                ("features.sql", ":1", "the output column `channel`", "the columns"),
            ],
            id="5 a metric of another task, a protected feature",
        ),
        pytest.param(
            [
                replace(
                    TRIPS,
                    ("keys: [trip_id]", "keys: [booking_id]"),
                    ("event_time: pickup_datetime", "event_time: pickup_time"),
                    ("tombstone: is_cancelled", "tombstone: is_cancelled OR rand() > 0.9"),
                    ("{by: arrival}", "{by: column, column: passenger_count}"),
                ),
                append(TRIPS, "pii:\n  full_name: {treatment: drop}\n"),
            ],
            [
                ("clean.sql", ":1", "the output column `booking_id`", "the columns"),
                (TRIPS, "event_time", "a column of clean.sql", "pickup_time"),
                (TRIPS, "tombstone", "without chance", "RAND()"),
                (TRIPS, "pii.full_name", "a declared column", "full_name"),
                (TRIPS, "known_at.column", "a date or timestamp", "passenger_count of type int"),
            ],
            id="6 a source at odds with itself",
        ),
        pytest.param(
            [
                replace("sources/loan_applications/clean.sql", ("  email,", "  email,\n  phone,")),
                append("sources/weather/clean.sql", "WHERE temperature_c > rand()\n"),
            ],
            [
                ("loan_applications/clean.sql", ":6", "a column of raw", "phone"),
                ("weather/clean.sql", ":9", "one row out for each row in", "WHERE"),
                ("weather/clean.sql", ":9", "without chance", "RAND()"),
            ],
            id="7 dropped personal data read, rows filtered by chance",
        ),
        pytest.param(
            [
                replace("use_cases/taxi_duration/spine.sql", ("as_of AS decision_time", "now() AS decision_time")),
                replace("use_cases/taxi_duration/label.sql", ("FROM spine", "FROM delta.`/lake/clean/trips` AS spine")),
                append("use_cases/taxi_duration/features.sql", ";\nDROP TABLE spine\n"),
            ],
            [
                ("spine.sql", ":5", "the clock", "NOW()"),
                ("label.sql", ":4", "one of the views", "delta.`/lake/clean/trips`"),
                ("features.sql", ":20", "one statement", "2 statements"),
            ],
            id="8 SQL that reaches out",
        ),
        pytest.param(
            [remove("use_cases/taxi_duration/label.sql"), remove("sources/trips/suite.yaml")],
            [
                ("taxi_duration/label.sql", "", "a readable file", "no such file"),
                ("trips/suite.yaml", "", "a readable file", "no such file"),
            ],
            id="9 files gone",
        ),
        pytest.param(
            [
                replace(
                    "sources/trips/suite.yaml",
                    ("severity: fail", "severity: deadly"),
                    ("column: trip_distance", "colum: x"),
                ),
                replace(
                    "use_cases/taxi_duration/suite.yaml",
                    ("expect_column_values_to_be_unique", "values_are_unique"),
                    ("column: row_id", "column: row"),
                ),
                replace(
                    "use_cases/loan_default/suite.yaml", ("expectations:", "expectations: !!python/name:os.system\nx:")
                ),
                replace(LOAN, ("name: loan_default", "name: loans")),
            ],
            [
                ("trips/suite.yaml", ":4 expectations.0.severity", "'fail', 'quarantine' or 'warn'", "'deadly'"),
                ("taxi_duration/suite.yaml", ":3 expectations.0.expect", "a name like", "values_are_unique"),
                ("taxi_duration/suite.yaml", ":5 expectations.0.kwargs.column", "a column", "row"),
                ("loan_default/suite.yaml", ":2", "plain YAML", "python/name:os.system"),
                (LOAN, ":2 name", "the folder's name, loan_default", "'loans'"),
            ],
            id="10 wrong suites, code in YAML, another name",
        ),
        pytest.param(
            [
                append(
                    TRIPS,
                    "success_marker: _SUCCESS\n"
                    "extract: {kind: database, connection: crm, query: DROP TABLE trips, changed_at: trip_id}\n",
                ),
                replace(
                    "sources/weather/source.yaml",
                    ("{type: double}", "{type: double, widened_from: [bigint]}"),
                    ("format: csv", "format: csv\nsuccess_marker: done/{name}\nexpects: {files: 0}"),
                ),
                append("sources/repayments/source.yaml", "extract: {kind: delta, location: lake/repayments}\n"),
            ],
            [
                (TRIPS, "format", "parquet", "csv"),
                (TRIPS, "success_marker", "no such entry", "one"),
                (TRIPS, "extract.changed_at", "a declared timestamp column", "trip_id"),
                (TRIPS, "extract.query", "one SELECT", "other SQL"),
                ("weather/source.yaml", "columns.temperature_c", "widened from only int", "widened_from"),
                ("weather/source.yaml", "success_marker", "pattern", "done/{name}"),
                ("weather/source.yaml", "expects.files", "greater than or equal to 1", "0"),
                ("weather/source.yaml", "expects.deadline_hours", "the entry", "nothing"),
                ("repayments/source.yaml", "extract.delta.location", "pattern", "lake/repayments"),
            ],
            id="11 extracts, widenings and markers that cannot be",
        ),
        pytest.param(
            [
                append(
                    LOAN,
                    "leakage: {allowed: {bureau_scor: slip of the pen, loan_applications.applied_on: no such date}}\n",
                )
            ],
            [
                (LOAN, "leakage.allowed.bureau_scor", "a feature, or `source.column`", "bureau_scor"),
                (
                    LOAN,
                    "leakage.allowed.loan_applications.applied_on",
                    "`source.column`",
                    "loan_applications.applied_on",
                ),
            ],
            id="12 leakage allowed for what is not there",
        ),
    ],
)
def test_every_fault_of_a_broken_folder(
    folders: Path, breaks: list[Break], expected: list[tuple[str, str, str, str]]
) -> None:
    for change in breaks:
        change(folders)
    faults = validate_folders([folders])
    shown = "\n".join(str(fault) for fault in faults)
    for file, place, wanted, found in expected:
        hits = [
            fault
            for fault in faults
            if file in fault.where and place in fault.where and wanted in fault.expected and found in fault.found
        ]
        assert len(hits) == 1, f"{file} {place}: {wanted} / {found} among\n{shown}"
    assert len(faults) == len(expected), shown


def test_loading_tells_all_broken_folders_at_once(folders: Path) -> None:
    replace(TAXI, ("entity: [trip_id]\n", ""))(folders)
    replace(LOAN, ("entity: [application_id]\n", ""))(folders)
    with pytest.raises(NightloopError) as caught:
        load_use_cases([folders])
    assert [fault.where.split("/")[-2] for fault in caught.value.faults] == ["loan_default", "taxi_duration"]


def test_unknown_name_lists_the_known_ones(folders: Path) -> None:
    with pytest.raises(NightloopError, match="one of loan_default, taxi_duration in"):
        load_use_case("taxi", [folders])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("a: &x [1]\nb: [*x, *x]\n", "anchor or alias", id="alias"),
        pytest.param("- a\n", "list", id="list"),
        pytest.param("", "NoneType", id="empty"),
        pytest.param("a: !!python/object/apply:os.system ['true']\n", "python/object", id="code"),
        pytest.param("a: 1\n---\nb: 2\n", "another document", id="two documents"),
        pytest.param("a:\n\t- 1\n", "token", id="tab"),
        pytest.param("[" * 5_000, "", id="depth"),
    ],
)
def test_wrong_yaml_is_a_fault(tmp_path: Path, text: str, found: str) -> None:
    file = tmp_path / "source.yaml"
    file.write_text(text)
    with pytest.raises(NightloopError) as caught:
        read_document(file)
    (fault,) = caught.value.faults
    assert fault.where.startswith(f"{file}:")
    assert found in fault.found


def test_the_first_of_two_folders_with_one_name_counts(folders: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folders / "use_cases", other / "use_cases")
    replace(TAXI, ("owner: dispatch", "owner: somebody"))(other)
    assert load_use_case("taxi_duration", [other, folders]).owner.startswith("somebody")
