"""The processes of the stack: how each is started and how each says that it is ready."""

import json
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from nightloop.engine.server import ConnectServer
from nightloop.settings import CHECKOUT, Settings
from nightloop.stack.ports import Ports
from nightloop.stack.process import Service

# logs are files of this machine, which the API server reads itself: nobody need serve them
_AIRFLOW_PARTS = {
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
_HEALTH_NAMES = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}


def build_spark(server: ConnectServer, environment: Mapping[str, str]) -> Service:
    return Service("spark", server.command(), server.environment(environment), server.folder, server.is_ready)


def build_job_host(address: Path, environment: Mapping[str, str]) -> Service:
    """Return the process that starts jobs from a warm interpreter; without it each job imports for itself."""
    command = [sys.executable, "-m", "nightloop_airflow.job_host", str(address)]
    return Service("job-host", command, environment, CHECKOUT, address.is_socket)


def build_mlflow(settings: Settings, ports: Ports, environment: Mapping[str, str]) -> Service:
    command = [
        *("mlflow", "server", "--host", "127.0.0.1", "--port", str(ports.mlflow), "--workers", "1"),
        *("--backend-store-uri", settings.mlflow_uri),
        *("--artifacts-destination", settings.artifacts),
    ]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # its queue is four more processes that nothing here uses
    url = f"{ports.mlflow_url}/health"
    return Service(
        "mlflow", _of_venv(command), {**environment, **quiet}, settings.home / "mlflow", lambda: _answers(url)
    )


def build_airflow(ports: Ports, environment: Mapping[str, str]) -> list[Service]:
    """Return the API server and the three processes whose health it reports."""
    server = ["airflow", "api-server", "--host", "127.0.0.1", "--port", str(ports.airflow)]
    health = f"{ports.airflow_url}/api/v2/monitor/health"
    services = [Service("api-server", _of_venv(server), environment, CHECKOUT, lambda: _answers(health))]
    for name, arguments in _AIRFLOW_PARTS.items():
        command = _of_venv(["airflow", *arguments])
        services.append(Service(name, command, environment, CHECKOUT, lambda part=name: _is_healthy(health, part)))  # type: ignore[misc]
    return services


def _of_venv(command: Sequence[str]) -> Sequence[str]:
    return [str(Path(sys.executable).with_name(command[0])), *command[1:]]


def _answers(url: str) -> bool:
    return _fetch(url) is not None


def _is_healthy(url: str, part: str) -> bool:
    body = _fetch(url)
    return body is not None and json.loads(body)[_HEALTH_NAMES[part]]["status"] == "healthy"


def _fetch(url: str) -> bytes | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - an address of this module's own making
            return bytes(answer.read())
    except (OSError, ValueError):
        return None
