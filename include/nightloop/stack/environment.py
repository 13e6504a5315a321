"""What the processes of the stack, and the jobs that Airflow starts, find in their environment."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from nightloop.engine.server import TOKEN_VARIABLE
from nightloop.settings import CHECKOUT, LINEAGE_TRANSPORT, Settings, lineage_transport
from nightloop.stack.ports import Ports
from nightloop.stack.secrets import ADMIN, StackSecrets, write_private

JOB_HOST_VARIABLE = "NIGHTLOOP_JOB_HOST"
_QUICK_JOBS = {
    "OMP_WAIT_POLICY": "PASSIVE",  # idle threads of one job do not spin while another works
    # whoever starts the stack may have set it: each job would compile what it imports anew
    "PYTHONDONTWRITEBYTECODE": "",
}
TELEMETRY_OFF = {
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}

# Latency and size for one small machine; a variable of the same name in the user's environment wins.
_TUNING = {
    # modest also because LocalExecutor may deadlock on its pipe under many tasks (apache/airflow#70526)
    "AIRFLOW__CORE__PARALLELISM": "4",
    "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "10",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",  # a task whose supervisor was killed fails after it
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
    "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
    "AIRFLOW__DAG_PROCESSOR__PRINT_STATS_INTERVAL": "600",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
    "AIRFLOW__API__AUTO_REFRESH_INTERVAL": "2",
    "AIRFLOW__API__INSTANCE_NAME": "Nightloop",
}


def build_job_environment(settings: Settings, remote: str, mlflow_url: str, token: str | None) -> Mapping[str, str]:
    """Return what a job needs to reach the stores of this state folder, the Spark server and MLflow."""
    return {
        **TELEMETRY_OFF,
        **_QUICK_JOBS,
        **({LINEAGE_TRANSPORT: json.dumps(transport)} if (transport := lineage_transport(settings.home)) else {}),
        "OPENLINEAGE_NAMESPACE": os.environ.get("OPENLINEAGE_NAMESPACE", "nightloop"),
        **({TOKEN_VARIABLE: token} if token else {}),
        "MLFLOW_TRACKING_URI": mlflow_url,
        "NIGHTLOOP_ARTIFACTS": settings.artifacts,
        "NIGHTLOOP_FOLDERS": os.pathsep.join(str(folder) for folder in settings.folders),
        "NIGHTLOOP_HOME": str(settings.home),
        "NIGHTLOOP_LAKE": settings.lake,
        "NIGHTLOOP_LANDING": settings.landing,
        "NIGHTLOOP_LEDGER_URL": settings.ledger_url,
        "NIGHTLOOP_WAREHOUSE_URL": settings.warehouse_url,
        "SPARK_REMOTE": remote,
    }


def build_airflow_environment(
    home: Path, ports: Ports, secrets: StackSecrets, *, are_dags_paused: bool
) -> Mapping[str, str]:
    """Return Airflow's configuration: SQLite, LocalExecutor, one admin with a generated password, loopback only."""
    airflow = home / "airflow"
    (home / "lineage").mkdir(parents=True, exist_ok=True)
    passwords = airflow / "passwords.json"
    write_private(passwords, json.dumps({ADMIN: secrets.airflow_password}))
    tuning = {name: os.environ.get(name, value) for name, value in _TUNING.items()}
    return {
        **tuning,
        "AIRFLOW_HOME": str(airflow),
        "AIRFLOW__API__BASE_URL": ports.airflow_url,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(ports.airflow),
        "AIRFLOW__API__SECRET_KEY": secrets.api_secret_key,
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.jwt_secret,
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": str(are_dags_paused),
        "AIRFLOW__CORE__DAGS_FOLDER": str(CHECKOUT / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://localhost:{ports.airflow}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__FERNET_KEY": secrets.fernet_key,
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",  # the default asks a name server
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(CHECKOUT / "plugins"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin",
        # Airflow's processes wait for one another's writes instead of failing
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{airflow}/airflow.db?timeout=60",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs" / "airflow"),
    }
