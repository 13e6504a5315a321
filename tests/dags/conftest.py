"""Every DAG, parsed once in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[2]
FOLDERS = Path(__file__).parent / "folders"
Parsed = dict[str, Any]


@pytest.fixture(scope="session")
def parse(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Parsed]:
    """Return a function that parses `dags/` over the given folders, for one DAG's task or for all."""
    home = tmp_path_factory.mktemp("airflow")

    def run(*folders: Path, dag_id: str | None = None) -> Parsed:
        environment = {
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "NIGHTLOOP_FOLDERS": os.pathsep.join(str(folder) for folder in folders),
        }
        if dag_id is not None:
            environment["_AIRFLOW_PARSING_CONTEXT_DAG_ID"] = dag_id
        script, out = Path(__file__).parent / "describe_dags.py", home / "parsed.json"
        command = [sys.executable, str(script), str(CHECKOUT / "dags"), str(out)]
        subprocess.run(command, env=environment, cwd=CHECKOUT, check=True, capture_output=True)
        parsed: Parsed = json.loads(out.read_text())
        return parsed

    return run


@pytest.fixture(scope="session")
def parsed(parse: Callable[..., Parsed]) -> Parsed:
    """The DAGs of this folder's small use case and of every packaged folder."""
    return parse(FOLDERS, CHECKOUT / "include")


@pytest.fixture(scope="session")
def dags(parsed: Parsed) -> dict[str, Any]:
    found: dict[str, Any] = parsed["dags"]
    return found
