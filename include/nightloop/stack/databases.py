"""Bring the databases of a state folder to the revision of this code before anything reads them."""

import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from nightloop.fault import Fault, NightloopError
from nightloop.settings import Settings
from nightloop.stores.ledger import ledger
from nightloop.stores.warehouse import warehouse


def migrate_stores(settings: Settings) -> None:
    """Migrate ledger and warehouse."""
    settings.home.mkdir(parents=True, exist_ok=True)
    ledger.migrate(settings.ledger_url)
    warehouse.migrate(settings.warehouse_url)


def migrate_airflow(home: Path, environment: Mapping[str, str], log: Path) -> None:
    """Migrate Airflow's metadata and let its readers and its writer work side by side (WAL, which SQLite remembers).

    Raises:
        NightloopError: Airflow could not; carries the end of its log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [str(Path(sys.executable).with_name("airflow")), "db", "migrate"]
    with log.open("ab") as sink:
        run = subprocess.run(command, env=dict(environment), stdout=sink, stderr=sink, check=False)
    if run.returncode:
        end = log.read_text(errors="replace")[-2000:]
        raise NightloopError(Fault("airflow db migrate", "exit code 0", f"{run.returncode}: {end}", f"see {log}"))
    connection = sqlite3.connect(home / "airflow" / "airflow.db")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
