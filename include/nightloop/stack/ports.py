"""The addresses of one stack."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from nightloop.engine.server import DEFAULT_PORT, find_free_port


@dataclass(frozen=True)
class Ports:
    """Ports on the loopback interface."""

    airflow: int
    mlflow: int
    spark: int

    @classmethod
    def choose(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Return the usual ports, or free ones where those are taken; `NIGHTLOOP_<NAME>_PORT` says other usual ones."""
        usual = {"airflow": 8080, "mlflow": 5000, "spark": DEFAULT_PORT}
        stated = {name: int(environment.get(f"NIGHTLOOP_{name.upper()}_PORT") or port) for name, port in usual.items()}
        return cls(**{name: find_free_port(port) for name, port in stated.items()})

    @property
    def airflow_url(self) -> str:
        return f"http://localhost:{self.airflow}"

    @property
    def mlflow_url(self) -> str:
        return f"http://localhost:{self.mlflow}"
