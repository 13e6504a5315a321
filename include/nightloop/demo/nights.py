"""Drive one use case's DAGs through the real scheduler, night by night."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nightloop.demo.airflow_api import AirflowApi
from nightloop.fault import Fault, NightloopError
from nightloop.folders.schedule import last_tick_at_or_before
from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase

_WAKE_SECONDS = 60


@dataclass(frozen=True)
class Scheduler:
    """The DAGs of one use case on a running Airflow."""

    api: AirflowApi
    use_case: UseCase
    sources: tuple[Source, ...]

    @property
    def dag_ids(self) -> list[str]:
        name = self.use_case.name
        own = [f"nightly_{name}", f"retrain_{name}", f"bootstrap_{name}"]
        return [*(f"source_{source.name}" for source in self.sources), *own]

    def bootstrap(self, first: datetime, last: datetime, on_progress: Callable[[str], None]) -> dict[str, Any]:
        """Load a whole history in one replay and train the first model."""
        dag_id = f"bootstrap_{self.use_case.name}"
        conf = {"first": first.date().isoformat(), "last": last.date().isoformat()}
        return self.api.wait(dag_id, self.api.trigger(dag_id, conf=conf), on_progress)

    def take_in(self, as_of: datetime) -> None:
        """Start the night of every source, as their schedules would."""
        for source in self.sources:
            self.api.trigger(f"source_{source.name}", last_tick_at_or_before(source.schedule, as_of))

    def run_night(self, as_of: datetime, on_progress: Callable[[str], None]) -> dict[str, Any]:
        """Start the night of the use case, as its schedule would, and wait for its end."""
        dag_id = f"nightly_{self.use_case.name}"
        return self.api.wait(dag_id, self.api.trigger(dag_id, as_of), on_progress)

    def wait_for_retraining(self, on_progress: Callable[[str], None], seen: int = 0) -> dict[str, Any]:
        """Wait for the next retraining run that a night woke, after `seen` earlier ones; nobody triggers it here."""
        dag_id = f"retrain_{self.use_case.name}"
        deadline = time.monotonic() + _WAKE_SECONDS
        while len(run_ids := self._woken_runs(dag_id)) <= seen:
            if time.monotonic() > deadline:
                raise NightloopError(
                    Fault(
                        dag_id,
                        f"a run started by the asset event within {_WAKE_SECONDS} s",
                        "none",
                        "see the night's verdict",
                    )
                )
            on_progress("waiting for the scheduler to start it")
            time.sleep(0.5)
        return self.api.wait(dag_id, run_ids[seen], on_progress)

    def _woken_runs(self, dag_id: str) -> list[str]:
        """Return the ids of the runs that an asset event started, the oldest first."""
        # not by logical date: a run that an asset woke has none
        runs = sorted(self.api.runs(dag_id), key=lambda run: str(run["run_after"]))
        return [run["dag_run_id"] for run in runs if run["run_type"] == "asset_triggered"]
