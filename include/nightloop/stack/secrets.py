"""Secrets of the embedded stack: generated once per state folder, readable by their owner alone."""

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

ADMIN = "admin"


@dataclass(frozen=True)
class StackSecrets:
    """One password for the person, keys for the processes."""

    airflow_password: str
    jwt_secret: str
    api_secret_key: str
    fernet_key: str
    spark_token: str

    @classmethod
    def of_home(cls, home: Path) -> Self:
        """Return the secrets of a state folder; those that are missing are made and kept."""
        path = home / "run" / "secrets.json"
        kept = json.loads(path.read_text()) if path.is_file() else {}
        made = cls(**{field.name: kept.get(field.name) or _make(field.name) for field in fields(cls)})
        if asdict(made) != kept:
            write_private(path, json.dumps(asdict(made), indent=1))
        return made


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    # made with its mode: changed afterwards, others could open it for a moment
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)


def _make(name: str) -> str:
    if name == "fernet_key":
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_urlsafe(12 if name == "airflow_password" else 32)
