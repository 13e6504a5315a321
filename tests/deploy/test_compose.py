"""docker-compose.yaml says the same as the embedded stack: versions, variables, no default password."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from nightloop.settings import CHECKOUT, Settings
from nightloop.setup import jars
from nightloop.stack.environment import build_airflow_environment, build_job_environment
from nightloop.stack.ports import Ports
from nightloop.stack.secrets import StackSecrets

COMPOSE = yaml.safe_load((CHECKOUT / "docker-compose.yaml").read_text())
SERVICES: Mapping[str, Any] = COMPOSE["services"]
AIRFLOW = {"airflow-apiserver", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer", "airflow-worker"}
SPARK = {"spark-master", "spark-worker", "spark-connect"}
STORES = {"postgres", "redis", "s3", "mlflow"}

# Settings that differ on purpose: addresses, secrets and what follows from Celery and PostgreSQL in place of SQLite.
OWN_VALUE = re.compile(
    r"AIRFLOW_HOME|.*__(API__BASE_URL|API__HOST|API__PORT|API__SECRET_KEY|API_AUTH__JWT_SECRET|CORE__DAGS_FOLDER"
    r"|CORE__EXECUTION_API_SERVER_URL|CORE__EXECUTOR|CORE__FERNET_KEY|CORE__PLUGINS_FOLDER"
    r"|CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE|DATABASE__SQL_ALCHEMY_CONN|LOGGING__BASE_LOG_FOLDER)"
    r"|NIGHTLOOP_.*|OPENLINEAGE__TRANSPORT|MLFLOW_TRACKING_URI|SPARK_CONNECT_AUTHENTICATE_TOKEN"
)
# Latency on one small machine, which a deployment leaves at Airflow's own defaults.
EMBEDDED_ONLY = re.compile(r"AIRFLOW__(SCHEDULER|DAG_PROCESSOR|WORKERS)__.*|AIRFLOW__API__AUTO_REFRESH_INTERVAL")


@pytest.fixture
def embedded(tmp_path: Path) -> Mapping[str, str]:
    settings = Settings.from_environment({"NIGHTLOOP_HOME": str(tmp_path)})
    ports = Ports(8080, 5000, 15002)
    secrets = StackSecrets.of_home(tmp_path)
    return {
        **build_job_environment(settings, "sc://localhost:15002/;user_id=nightloop", ports.mlflow_url, "token"),
        **build_airflow_environment(tmp_path, ports, secrets, are_dags_paused=True),
    }


def test_every_part_has_its_service() -> None:
    assert set(SERVICES) >= AIRFLOW | SPARK | STORES


@pytest.mark.parametrize("service", sorted(AIRFLOW))
def test_airflow_has_the_variables_of_the_embedded_stack(service: str, embedded: Mapping[str, str]) -> None:
    environment = SERVICES[service]["environment"]
    expected = {name for name in embedded if not EMBEDDED_ONLY.fullmatch(name)}
    assert expected - set(environment) == set()
    different = {name for name in expected if not OWN_VALUE.fullmatch(name) and environment[name] != embedded[name]}
    assert different == set()


def test_one_image_serves_airflow_spark_and_mlflow() -> None:
    images = {SERVICES[name]["image"] for name in AIRFLOW | SPARK | {"mlflow", "airflow-init", "s3-init"}}
    version = re.search(r'^version = "(.+)"', (CHECKOUT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert images == {f"nightloop:{version[1]}"}


def test_image_is_built_by_the_steps_of_make_setup() -> None:
    dockerfile = (CHECKOUT / "deploy" / "Dockerfile").read_text()
    assert re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE) == ["python:3.11-slim-bookworm"] * 2
    assert "RUN make setup" in dockerfile
    assert not re.search(r"(apache-airflow|pyspark|mlflow|torch)==", dockerfile), "versions belong to requirements.txt"
    uv = re.search(r"uv_version=(\S+)", (CHECKOUT / "include" / "nightloop" / "setup" / "bootstrap.sh").read_text())
    assert uv
    assert f"uv=={uv[1]}" in dockerfile


def test_foreign_images_state_a_version() -> None:
    foreign = [service["image"] for service in SERVICES.values() if not service["image"].startswith("nightloop:")]
    assert foreign
    assert all(re.search(r":.*\d", image) for image in foreign), foreign


def test_nothing_starts_with_a_default_secret() -> None:
    text = (CHECKOUT / "docker-compose.yaml").read_text()
    assert set(re.findall(r"\$\{\w+(:-|-)", text)) == set(), "a default value"
    variables = set(re.findall(r"\$\{(\w+):\?", text))
    example = dict(re.findall(r"^(\w+)=(.*)$", (CHECKOUT / "deploy" / ".env.example").read_text(), re.MULTILINE))
    assert set(example) == variables
    assert set(example.values()) == {""}


def test_ports_are_published_on_loopback_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_jobs_reach_spark_over_loopback_with_a_token() -> None:
    worker = SERVICES["airflow-worker"]
    assert worker["network_mode"] == "service:spark-connect"
    assert worker["environment"]["SPARK_REMOTE"].startswith("sc://localhost:")
    token = "SPARK_CONNECT_AUTHENTICATE_TOKEN"
    assert worker["environment"][token] == SERVICES["spark-connect"]["environment"][token]


def test_s3_jars_are_pinned() -> None:
    pinned = jars.read_lock(CHECKOUT / "deploy" / "jars-s3.lock")
    assert {jar.artifact for jar in pinned} == {"hadoop-aws", "bundle", "analyticsaccelerator-s3"}
    assert all(re.fullmatch("[0-9a-f]{64}", jar.sha256) for jar in pinned)
