"""Where this installation keeps its things, read from the environment once per process."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

CHECKOUT = Path(__file__).resolve().parents[2]
LINEAGE_TRANSPORT = "OPENLINEAGE__TRANSPORT"
_OWN_LINEAGE = ("OPENLINEAGE_CONFIG", "OPENLINEAGE_DISABLED", LINEAGE_TRANSPORT)


@dataclass(frozen=True, slots=True)
class Settings:
    """Addresses of the stores. Everything defaults to files below `home`, so nothing has to be set to begin."""

    home: Path
    landing: str
    lake: str
    warehouse_url: str
    ledger_url: str
    mlflow_uri: str
    artifacts: str
    spark_remote: str | None
    folders: tuple[Path, ...]

    @property
    def reports(self) -> Path:
        return self.home / "reports"

    @property
    def work(self) -> Path:
        """Scratch space of running attempts."""
        return self.home / "work"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read `NIGHTLOOP_*`, `SPARK_REMOTE` and `MLFLOW_TRACKING_URI`.

        `NIGHTLOOP_FOLDERS` lists directories, joined by the path separator, that hold `sources/` and `use_cases/`.
        """
        env = os.environ if environment is None else environment
        home = Path(env.get("NIGHTLOOP_HOME", ".nightloop")).expanduser().resolve()
        folders = env.get("NIGHTLOOP_FOLDERS") or str(CHECKOUT / "include")
        return cls(
            home=home,
            landing=env.get("NIGHTLOOP_LANDING", str(home / "landing")),
            lake=env.get("NIGHTLOOP_LAKE", str(home / "lake")),
            warehouse_url=env.get("NIGHTLOOP_WAREHOUSE_URL", f"sqlite:///{home}/warehouse.db"),
            ledger_url=env.get("NIGHTLOOP_LEDGER_URL", f"sqlite:///{home}/ledger.db"),
            mlflow_uri=env.get("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db"),
            artifacts=env.get("NIGHTLOOP_ARTIFACTS", str(home / "artifacts")),
            spark_remote=env.get("SPARK_REMOTE"),
            folders=tuple(Path(folder) for folder in folders.split(os.pathsep)),
        )


def lineage_transport(home: Path, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return OpenLineage's transport: `lineage/events.jsonl` of the state folder, or the endpoint of `OPENLINEAGE_URL`.

    Values are taken out on the way. Nothing where the environment describes a transport of its own, or wants none.
    """
    env = os.environ if environment is None else environment
    # by their beginning: a transport may be stated in parts, such as OPENLINEAGE__TRANSPORT__TYPE
    if any(name.startswith(_OWN_LINEAGE) and env[name] for name in env):
        return {}
    sent: dict[str, Any] = {"type": "file", "log_file_path": str(home / "lineage" / "events.jsonl"), "append": True}
    if url := env.get("OPENLINEAGE_URL"):
        key = env.get("OPENLINEAGE_API_KEY")
        sent = {"type": "http", "url": url, "endpoint": env.get("OPENLINEAGE_ENDPOINT") or "api/v1/lineage"}
        sent |= {"auth": {"type": "api_key", "apiKey": key}} if key else {}
    return {"type": "transform", "transformer_class": "nightloop.job.lineage_values.DropValues", "transport": sent}
