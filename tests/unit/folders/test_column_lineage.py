"""Column lineage, read from the SQL: through clean.sql, the spine, WITH clauses, unions and subqueries."""

import json

import pytest
from typer.testing import CliRunner

from nightloop.commands.cli import app
from nightloop.folders.column_lineage import column_lineage
from nightloop.folders.loading import load_source, load_use_case
from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.run import EXIT_INPUT
from nightloop.settings import CHECKOUT
from nightloop.sql.columns import TracedSelect

FOLDERS = (CHECKOUT / "include",)
VIEWS = {"spine": ("row_id", "trip_id"), "trips": ("row_id", "fare", "zone", "parts")}


def packaged(name: str) -> tuple[UseCase, dict[str, Source]]:
    use_case = load_use_case(name, FOLDERS)
    return use_case, {source: load_source(source, FOLDERS) for source in use_case.sources}


@pytest.mark.parametrize(
    ("sql", "origins"),
    [
        pytest.param("SELECT fare * 2 AS x FROM trips", {"trips.fare"}, id="expression"),
        pytest.param("SELECT avg(t.fare) AS x FROM trips t WHERE t.zone = 1", {"trips.fare"}, id="condition left out"),
        pytest.param("SELECT fare AS y, y + 1 AS x FROM trips", {"trips.fare"}, id="alias used again"),
        pytest.param(
            "WITH a(b, x) AS (SELECT row_id, fare FROM trips) SELECT x FROM a", {"trips.fare"}, id="named columns"
        ),
        pytest.param(
            "WITH a AS (SELECT *, fare * 2 AS x FROM trips) SELECT a.x FROM a", {"trips.fare"}, id="with and star"
        ),
        pytest.param(
            "SELECT fare AS x FROM trips UNION ALL SELECT trip_id FROM spine",
            {"trips.fare", "spine.trip_id"},
            id="union",
        ),
        pytest.param(
            "SELECT (SELECT max(t.fare) FROM trips t WHERE t.row_id = s.row_id) AS x FROM spine s",
            {"trips.fare", "trips.row_id", "spine.row_id"},
            id="subquery",
        ),
        pytest.param("SELECT e.x FROM trips LATERAL VIEW explode(parts) e AS x", {"trips.parts"}, id="lateral view"),
        pytest.param(
            "SELECT transform(parts, p -> p + fare) AS x FROM trips", {"trips.parts", "trips.fare"}, id="lambda"
        ),
        pytest.param(
            "SELECT sum(fare) OVER (PARTITION BY zone) AS x FROM trips", {"trips.fare", "trips.zone"}, id="window"
        ),
        pytest.param("SELECT count(*) AS x FROM trips", {"trips.*"}, id="count of records"),
        pytest.param("SELECT 1 AS x FROM trips", set(), id="constant"),
    ],
)
def test_origins_of_an_output(sql: str, origins: set[str]) -> None:
    assert {".".join(origin) for origin in TracedSelect(sql, VIEWS).origins("x")} == origins


def test_columns_read_are_those_of_conditions_too() -> None:
    sql = "SELECT s.row_id FROM spine s LEFT JOIN trips t ON t.row_id = s.row_id AND t.zone > 0"
    read = {".".join(column) for column in TracedSelect(sql, VIEWS).columns_read()}
    assert read == {"spine.row_id", "trips.row_id", "trips.zone"}


def test_features_are_led_back_to_the_columns_as_received() -> None:
    use_case, sources = packaged("taxi_duration")
    found = column_lineage(use_case, sources)
    assert set(use_case.features.names) <= set(found)
    assert found["lead_hours"] == ("trips.booked_at", "trips.pickup_datetime")
    assert found["pickup_zone"] == ("trips.pickup_location_id",)
    assert found["pickup_hour"] == ("trips.pickup_datetime",)
    assert found["temperature_c"] == ("weather.temperature_c",)
    assert "row_id" not in found


def test_clean_sql_and_counts_are_followed() -> None:
    use_case, sources = packaged("loan_default")
    clean = "SELECT application_id, national_id, applied_at, 2 * loan_amount_usd AS doubled_usd FROM raw"
    sources["loan_applications"] = sources["loan_applications"].model_copy(update={"clean_sql": clean})
    features = (
        "SELECT spine.row_id, max(loan_applications.doubled_usd) AS loan_amount_usd, count(*) AS open_accounts, "
        "datediff(max(spine.decision_time), max(bureau_records.known_at)) AS bureau_score "
        "FROM spine LEFT JOIN loan_applications ON loan_applications.row_id = spine.row_id "
        "LEFT JOIN bureau_records ON bureau_records.row_id = spine.row_id GROUP BY spine.row_id"
    )
    spine = "SELECT application_id, national_id, as_of AS decision_time, as_of FROM loan_applications_new"
    found = column_lineage(use_case.model_copy(update={"features_sql": features, "spine_sql": spine}), sources)
    assert found["loan_amount_usd"] == ("loan_applications.loan_amount_usd",)
    assert found["open_accounts"] == ("bureau_records.*", "loan_applications.*")
    assert found["bureau_score"] == ("bureau_records.known_at",)
    assert found["application_id"] == ("loan_applications.application_id",)


def test_command_prints_one_column_as_json() -> None:
    ended = CliRunner().invoke(app, ["lineage", "taxi_duration", "lead_hours", "--json"])
    assert json.loads(ended.stdout) == {"lead_hours": ["trips.booked_at", "trips.pickup_datetime"]}


def test_command_suggests_the_column_that_was_meant() -> None:
    ended = CliRunner().invoke(app, ["lineage", "taxi_duration", "lead_hour"])
    assert ended.exit_code == EXIT_INPUT
    assert "did you mean `lead_hours`?" in ended.output
