"""Start, watch and end the embedded stack of one state folder."""

import contextlib
import json
import logging
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from nightloop.engine.server import ConnectServer
from nightloop.fault import Fault, NightloopError
from nightloop.settings import Settings
from nightloop.stack import databases, services, signals
from nightloop.stack.environment import JOB_HOST_VARIABLE, build_airflow_environment, build_job_environment
from nightloop.stack.ports import Ports
from nightloop.stack.process import (
    STACK_VARIABLE,
    Identity,
    Service,
    SupervisedProcess,
    end_processes,
    find_marked,
)
from nightloop.stack.secrets import ADMIN, StackSecrets, write_private

log = logging.getLogger("nightloop.stack")

_READY_SECONDS = 240.0
_POLL_SECONDS = 0.25
_GRACE_SECONDS = 10.0
_MOST_DEATHS_AT_START = 3


@dataclass(frozen=True)
class StackState:
    """What `stack.json` says about a running stack."""

    stack_id: str
    supervisor: Identity
    processes: Mapping[str, Identity]
    urls: Mapping[str, str]
    is_ready: bool = False

    @classmethod
    def read(cls, home: Path) -> Self | None:
        path = _state_file(home)
        if not path.is_file():
            return None
        document = json.loads(path.read_text())
        processes = {name: Identity(**identity) for name, identity in document["processes"].items()}
        supervisor = Identity(**document["supervisor"])
        return cls(document["stack_id"], supervisor, processes, document["urls"], document["is_ready"])

    def write(self, home: Path) -> None:
        document: dict[str, Any] = {
            "stack_id": self.stack_id,
            "supervisor": vars(self.supervisor),
            "processes": {name: vars(identity) for name, identity in self.processes.items()},
            "urls": dict(self.urls),
            "is_ready": self.is_ready,
        }
        write_private(_state_file(home), json.dumps(document, indent=1))


class Stack:
    """The stack of `settings.home`: Spark Connect, MLflow, job host, Airflow's four processes, watched by one thread.

    A Spark server or an MLflow server that the settings name already is used as it is and not started.
    """

    def __init__(self, settings: Settings, *, are_dags_paused: bool = True) -> None:
        self.settings = settings
        self.home = settings.home
        self.logs = settings.home / "logs"
        self.ports = Ports.choose()
        self.secrets = StackSecrets.of_home(settings.home)
        self.stack_id = uuid.uuid4().hex
        # not below the state folder, whose path may be long: the address of a socket has room for 107 bytes
        self.job_host = Path(tempfile.gettempdir()) / f"nightloop-{self.stack_id}.sock"
        self._are_dags_paused = are_dags_paused
        self._is_ready = False
        self._server = ConnectServer(self.home, self.secrets.spark_token, self.ports.spark)
        self._processes: list[SupervisedProcess] = []
        self._ending = threading.Event()
        self._watcher: threading.Thread | None = None

    @property
    def airflow_url(self) -> str:
        return self.ports.airflow_url

    @property
    def mlflow_url(self) -> str:
        return self.settings.mlflow_uri if self._has_own_mlflow else self.ports.mlflow_url

    @property
    def remote(self) -> str:
        return self.settings.spark_remote or self._server.remote

    @property
    def user(self) -> str:
        return ADMIN

    @property
    def password(self) -> str:
        return self.secrets.airflow_password

    @property
    def job_environment(self) -> Mapping[str, str]:
        """What a job needs, whoever starts it."""
        token = None if self.settings.spark_remote else self.secrets.spark_token
        return build_job_environment(self.settings, self.remote, self.mlflow_url, token)

    @property
    def restarts(self) -> Mapping[str, int]:
        """How often each process was started again."""
        return {process.service.name: process.restarts for process in self._processes}

    def start(self) -> None:
        """Migrate the databases and start every process, in the order in which they need one another.

        Raises:
            NightloopError: a stack of this state folder runs already, or a database could not be migrated.
        """
        if find_stack(self.home) is not None:
            raise NightloopError(
                Fault(f"the stack of {self.home}", "not to run", "it runs", "`nightloop down` ends it")
            )
        # what a supervisor that was killed has left at work
        stop_stack(self.home)
        airflow = {
            **os.environ,
            **self.job_environment,
            **build_airflow_environment(self.home, self.ports, self.secrets, are_dags_paused=self._are_dags_paused),
            JOB_HOST_VARIABLE: str(self.job_host),
            STACK_VARIABLE: self.stack_id,
        }
        # before the first process: a supervisor killed from here on leaves the id by which its processes are found
        self._write_state()
        self._processes = [SupervisedProcess(service, self.logs) for service in self._build_stores(airflow)]
        for process in self._processes:
            process.start()
        self._write_state()
        # Airflow's takes seconds: ours, and the start of the services above, go on beside it
        with ThreadPoolExecutor(2) as pool:
            airflow_done = pool.submit(databases.migrate_airflow, self.home, airflow, self.logs / "airflow-migrate.log")
            databases.migrate_stores(self.settings)
            airflow_done.result()
        for service in services.build_airflow(self.ports, airflow):
            self._processes.append(process := SupervisedProcess(service, self.logs))
            process.start()
        self._write_state()
        self._watcher = threading.Thread(target=self._watch, name="stack-watch", daemon=True)
        self._watcher.start()

    def wait_ready(
        self, timeout_seconds: float = _READY_SECONDS, on_ready: Callable[[str, float], None] = lambda *_: None
    ) -> None:
        """Wait until every process answers; `on_ready` hears each name with the seconds it took.

        Raises:
            NightloopError: one keeps dying, or took too long; carries the end of its log.
        """
        start = time.monotonic()
        waiting = {process.service.name: process for process in self._processes}
        while waiting:
            for name, process in list(waiting.items()):
                if process.service.is_ready():
                    on_ready(name, time.monotonic() - start)
                    del waiting[name]
                elif process.restarts >= _MOST_DEATHS_AT_START or time.monotonic() - start > timeout_seconds:
                    raise _describe_failure(process)
            time.sleep(_POLL_SECONDS)
        self._is_ready = True
        self._write_state()

    def stop(self) -> None:
        """End every process of the stack with everything below it."""
        signals.settle()
        # the watcher first, else it starts again what is being ended
        self._ending.set()
        if self._watcher is not None:
            self._watcher.join()
        _end(self.home, self.stack_id, [process.identity for process in self._processes])
        for process in self._processes:
            process.reap()
        self.job_host.unlink(missing_ok=True)

    def watch(self) -> None:
        """Stay until another thread or a signal ends the stack."""
        while not self._ending.wait(1):
            pass

    def __enter__(self) -> Self:
        try:
            self.start()
            self.wait_ready()
        # an interrupt too: nobody else knows of what was started
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def _has_own_mlflow(self) -> bool:
        return self.settings.mlflow_uri.startswith("http")

    def _build_stores(self, environment: Mapping[str, str]) -> list[Service]:
        started: list[Service] = [services.build_job_host(self.job_host, environment)]
        if not self.settings.spark_remote:
            started.append(services.build_spark(self._server, environment))
        if not self._has_own_mlflow:
            started.append(services.build_mlflow(self.settings, self.ports, environment))
        return started

    def _watch(self) -> None:
        while not self._ending.wait(_POLL_SECONDS):
            revived = [process.revive() for process in self._processes]
            if any(revived):
                self._write_state()

    def _write_state(self) -> None:
        identities = {process.service.name: process.identity for process in self._processes}
        running = {name: identity for name, identity in identities.items() if identity is not None}
        urls = {"airflow": self.airflow_url, "mlflow": self.mlflow_url, "spark": self.remote}
        StackState(self.stack_id, Identity.of(os.getpid()), running, urls, self._is_ready).write(self.home)


def find_stack(home: Path) -> StackState | None:
    """Return the state of the stack if its supervisor is alive."""
    state = StackState.read(home)
    return state if state and state.supervisor.find() else None


def stop_stack(home: Path) -> int:
    """End the stack of a state folder, also one whose supervisor was killed; returns how many processes were ended.

    Only processes with the recorded start time, or with the stack's own id in their environment, are touched.
    """
    state = StackState.read(home)
    if state is None:
        return 0
    ended = 0
    supervisor = state.supervisor.find()
    if supervisor is not None and supervisor.pid != os.getpid():
        with contextlib.suppress(psutil.NoSuchProcess):
            supervisor.terminate()
            # it needs one grace for its own processes and one for those that were re-parented
            psutil.wait_procs([supervisor], timeout=3 * _GRACE_SECONDS)
        ended += 1
    return ended + _end(home, state.stack_id, list(state.processes.values()))


def _end(home: Path, stack_id: str, identities: "list[Identity | None]") -> int:
    recorded = [identity.find() for identity in identities if identity is not None]
    ended = end_processes([process for process in recorded if process is not None], _GRACE_SECONDS)
    ended += end_processes(find_marked(stack_id), _GRACE_SECONDS)
    _state_file(home).unlink(missing_ok=True)
    return ended


def _describe_failure(process: SupervisedProcess) -> NightloopError:
    code = process.exit_code()
    found = "no answer" if code is None else f"exit code {code}"
    where = f"{process.service.name} of the stack"
    return NightloopError(Fault(where, "to answer", f"{found}: {process.read_log_end()}", f"see {process.log_file}"))


def _state_file(home: Path) -> Path:
    return home / "run" / "stack.json"
