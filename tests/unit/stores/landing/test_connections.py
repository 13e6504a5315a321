"""Addresses of outside databases, from the environment alone."""

import json

import pytest

from nightloop.fault import NightloopError
from nightloop.stores.landing.connections import find_connection

URL = "postgresql+psycopg://reader:p%40ss@db:5432/crm"


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        pytest.param("NIGHTLOOP_CONNECTION_CRM", URL, URL, id="our own"),
        pytest.param("AIRFLOW_CONN_CRM", "postgres://reader:p%40ss@db:5432/crm", URL, id="Airflow's URI"),
        pytest.param(
            "AIRFLOW_CONN_CRM",
            json.dumps(
                {
                    "conn_type": "postgres",
                    "login": "reader",
                    "password": "p@ss",
                    "host": "db",
                    "port": 5432,
                    "schema": "crm",
                }
            ),
            URL,
            id="Airflow's JSON",
        ),
        pytest.param(
            "AIRFLOW_CONN_CRM", '{"conn_type": "sqlite", "host": "/a/b.db"}', "sqlite:////a/b.db", id="SQLite"
        ),
    ],
)
def test_a_connection_is_found_by_its_name(variable: str, text: str, expected: str) -> None:
    assert find_connection("crm", {variable: text}).render_as_string(hide_password=False) == expected


@pytest.mark.parametrize(
    "environment", [{}, {"AIRFLOW_CONN_CRM": "hush-hush"}, {"AIRFLOW_CONN_CRM": '{"password": "hush-hush"}'}]
)
def test_a_missing_or_wrong_connection_is_named_and_not_told(environment: dict[str, str]) -> None:
    with pytest.raises(NightloopError, match="NIGHTLOOP_CONNECTION_CRM") as caught:
        find_connection("crm", environment)
    assert "hush-hush" not in str(caught.value)
