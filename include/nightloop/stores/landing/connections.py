"""Addresses of outside databases: from the environment alone, so that no secret stands in YAML, a log or an argv."""

import json
import os
from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from nightloop.fault import Fault, NightloopError

_OWN, _AIRFLOW = "NIGHTLOOP_CONNECTION_", "AIRFLOW_CONN_"
# Airflow calls it postgres, a name that SQLAlchemy does not know
_DRIVERS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg", "mssql": "mssql+pyodbc"}


def find_connection(name: str, environment: Mapping[str, str] | None = None) -> URL:
    """Return a database's URL: from NIGHTLOOP_CONNECTION_<NAME>, or from AIRFLOW_CONN_<NAME> as a URI or JSON.

    Raises:
        NightloopError: no variable holds it, or not a URL; what it holds is not told.
    """
    own, airflow = f"{_OWN}{name.upper()}", f"{_AIRFLOW}{name.upper()}"
    values = os.environ if environment is None else environment
    text = values.get(own) or values.get(airflow)
    remedy = f"set {own} to a SQLAlchemy URL, or define the Airflow connection `{name}`"
    if not text:
        raise NightloopError(Fault(f"connection {name}", "the address of a database", "none", remedy))
    try:
        url = _from_json(json.loads(text)) if text.lstrip().startswith("{") else make_url(text)
    except (ArgumentError, ValueError, KeyError):
        raise NightloopError(Fault(f"connection {name}", "a URL or Airflow's JSON", "neither", remedy)) from None
    return url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))


def _from_json(document: Mapping[str, Any]) -> URL:
    kind, host = document["conn_type"], document.get("host")
    if kind == "sqlite":
        return URL.create("sqlite", database=document.get("schema") or host)
    port = document.get("port")
    return URL.create(
        kind.replace("-", "_"),
        username=document.get("login"),
        password=document.get("password"),
        host=host,
        port=int(port) if port else None,
        database=document.get("schema"),
    )
