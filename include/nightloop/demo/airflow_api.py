"""The few calls of Airflow's REST API that the demo needs."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from nightloop.fault import Fault, NightloopError

_ENDED = ("success", "failed")
_POLL_SECONDS = 0.5


@dataclass
class AirflowApi:
    """A signed-in client of one API server."""

    url: str
    user: str
    password: str
    _client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        answer = httpx.post(f"{self.url}/auth/token", json={"username": self.user, "password": self.password})
        answer.raise_for_status()
        token = answer.json()["access_token"]
        self._client = httpx.Client(
            base_url=f"{self.url}/api/v2", headers={"Authorization": f"Bearer {token}"}, timeout=60
        )

    def close(self) -> None:
        self._client.close()

    def call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        """Return the JSON answer of one call.

        Raises:
            NightloopError: the server refused; its own words are in the error.
        """
        answer = self._client.request(method, path, **arguments)
        if answer.is_error:
            raise NightloopError(
                Fault(f"{method} {path}", "success", f"HTTP {answer.status_code}: {answer.text[:500]}")
            )
        return answer.json()  # type: ignore[no-any-return]

    def wait_for_dags(self, dag_ids: list[str], timeout_seconds: float = 120) -> None:
        """Wait until the DAG processor has parsed these DAGs, then let them run."""
        deadline = time.monotonic() + timeout_seconds
        missing = set(dag_ids)
        while missing:
            known = {dag["dag_id"] for dag in self.call("GET", "/dags", params={"limit": 200})["dags"]}
            missing -= known
            if missing and time.monotonic() > deadline:
                errors = self.call("GET", "/importErrors")["import_errors"]
                found = (
                    "; ".join(error["stack_trace"].strip().splitlines()[-1] for error in errors) or "no import error"
                )
                raise NightloopError(
                    Fault("Airflow", f"the DAGs {sorted(missing)}", found, "see the DAG processor's log")
                )
            if missing:
                time.sleep(_POLL_SECONDS)
        for dag_id in dag_ids:
            self.call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, as_of: datetime | None = None, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run for one logical instant and return its run id."""
        body = {"logical_date": None if as_of is None else as_of.isoformat(), "conf": dict(conf or {})}
        return str(self.call("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        return list(self.call("GET", f"/dags/{dag_id}/dagRuns", params={"limit": 100})["dag_runs"])

    def find_run(self, dag_id: str, as_of: datetime) -> str:
        """Return the id of the one run for a logical instant."""
        (run_id,) = [
            str(run["dag_run_id"])
            for run in self.runs(dag_id)
            if run["logical_date"] and datetime.fromisoformat(run["logical_date"]) == as_of
        ]
        return run_id

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return list(self.call("GET", path, params={"limit": 100})["task_instances"])

    def wait(
        self, dag_id: str, run_id: str, on_progress: Callable[[str], None], timeout_seconds: float = 900
    ) -> dict[str, Any]:
        """Wait for the end of a run, telling which tasks are at work.

        Raises:
            NightloopError: the run failed or took too long; names its failed tasks.
        """
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            run = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")
            if run["state"] in _ENDED:
                break
            on_progress(_describe_tasks(self.tasks(dag_id, run_id)))
            time.sleep(_POLL_SECONDS)
        else:
            raise NightloopError(Fault(f"{dag_id} {run_id}", f"an end within {timeout_seconds:.0f} s", run["state"]))
        if run["state"] == "failed":
            failed = [task["task_id"] for task in self.tasks(dag_id, run_id) if task["state"] == "failed"]
            raise NightloopError(Fault(f"{dag_id} {run_id}", "success", f"failed tasks {failed}", "read their logs"))
        return run


def _describe_tasks(tasks: list[dict[str, Any]]) -> str:
    done = sum(task["state"] in ("success", "skipped") for task in tasks)
    active = [task["task_id"] for task in tasks if task["state"] in ("running", "queued", "deferred", "up_for_retry")]
    return f"{done}/{len(tasks)} {' '.join(dict.fromkeys(active))}".rstrip()
