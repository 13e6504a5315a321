"""Run the loop's jobs without Airflow, in this process or as processes of their own, on a state folder of the test."""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from nightloop.dataset import DatasetRef
from nightloop.folders.loading import load_source, load_use_case
from nightloop.folders.schedule import last_tick_at_or_before
from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.run import EXIT_OK, EXIT_SKIPPED, JobResult
from nightloop.settings import CHECKOUT, Settings
from nightloop.stores.ledger import ledger
from nightloop.stores.warehouse import warehouse

_PATIENCE_SECONDS = 300
_POLL_SECONDS = 0.005


@dataclass
class Loop:
    """One use case's loop on one state folder."""

    home: Path
    name: str
    remote: str
    folders: Sequence[Path] = (CHECKOUT / "include",)
    landing: Path | None = None
    more: Mapping[str, str] = field(default_factory=dict)  # other settings, by the names of their variables
    results: list[JobResult] = field(default_factory=list)

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "NIGHTLOOP_HOME": str(self.home),
            "NIGHTLOOP_FOLDERS": os.pathsep.join(str(folder) for folder in self.folders),
            "NIGHTLOOP_LANDING": str(self.landing or self.home / "landing"),
            "SPARK_REMOTE": self.remote,
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.home}/mlflow.db",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "1",
            "GX_ANALYTICS_ENABLED": "false",
            **self.more,
        }

    @property
    def settings(self) -> Settings:
        return Settings.from_environment(self.environment)

    @property
    def use_case(self) -> UseCase:
        return load_use_case(self.name, self.folders)

    @property
    def sources(self) -> list[Source]:
        return [load_source(name, self.folders) for name in self.use_case.sources]

    def migrate(self) -> "Loop":
        self.home.mkdir(parents=True, exist_ok=True)
        ledger.migrate(self.settings.ledger_url)
        warehouse.migrate(self.settings.warehouse_url)
        return self

    def run(
        self, job: str, scope: str, kind: str, as_of: datetime, first: datetime | None = None, **options: str
    ) -> JobResult:
        """Run one job in this process and return its result."""
        result = self.home / "result"
        result.unlink(missing_ok=True)
        with job_environment(self.environment):
            code = importlib.import_module(f"jobs.{job}").main(
                self.arguments(result, scope, kind, as_of, first, options)
            )
        assert code in (EXIT_OK, EXIT_SKIPPED), f"{job} of {scope} ended with exit code {code}"
        self.results.append(JobResult.read(result))
        return self.results[-1]

    def start(
        self, job: str, scope: str, kind: str, as_of: datetime, first: datetime | None = None, **options: str
    ) -> "subprocess.Popen[bytes]":
        """Start one job as a process of its own, for tests that kill it; its output goes to `log_of(job)`."""
        arguments = self.arguments(self.home / f"{job}.result", scope, kind, as_of, first, options)
        return self.start_command(job, ("-m", f"jobs.{job}", *arguments))

    def start_command(self, job: str, arguments: Sequence[str]) -> "subprocess.Popen[bytes]":
        """Start Python with these arguments as a job's process group, its log emptied first."""
        environment = {**os.environ, **self.environment}
        with self.log_of(job).open("wb") as log:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=CHECKOUT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def log_of(self, job: str) -> Path:
        return self.home / f"{job}.log"

    def kill_at(self, said: str, job: str, scope: str, kind: str, as_of: datetime, **options: str) -> None:
        """Start one job and kill its process group with SIGKILL as soon as its log says so, e.g. `publish …`."""
        process = self.start(job, scope, kind, as_of, None, **options)
        self.wait_for(said, job, process)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait(_PATIENCE_SECONDS) == -signal.SIGKILL, f"{job} ended before `{said}` could be answered"

    def wait_for(self, said: str, job: str, process: "subprocess.Popen[bytes]") -> None:
        """Wait until a started job's log holds a text; fail when the job ends without it."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while f": {said}" not in (text := self.log_of(job).read_text()):
            assert process.poll() is None, f"{job} ended with {process.poll()} and never said `{said}`:\n{text[-2000:]}"
            assert time.monotonic() < deadline, f"{job} did not say `{said}` in time:\n{text[-2000:]}"
            time.sleep(_POLL_SECONDS)

    @staticmethod
    def arguments(
        result: Path, scope: str, kind: str, as_of: datetime, first: datetime | None, options: Mapping[str, str]
    ) -> list[str]:
        argv = [f"--scope={scope}", f"--kind={kind}", f"--as-of={as_of.isoformat()}", f"--result={result}"]
        argv += [f"--from={first.isoformat()}"] if first else []
        return [*argv, *(f"--set={name}={value}" for name, value in options.items())]

    def ingest(self, as_of: datetime, first: datetime | None = None) -> None:
        for source in self.sources:
            last = last_tick_at_or_before(source.schedule, as_of)
            for job in ("land_source", "clean_source"):
                self.run(job, source.name, "source", last, first)

    def night(self, as_of: datetime, first: datetime | None = None, *, reports: bool = True) -> JobResult:
        """Run one night (or a replay) of the use case, its sources first; return the decision."""
        self.ingest(as_of, first)
        self.run("build_features", self.name, "use_case", as_of, first)
        scored = self.run("score_batch", self.name, "use_case", as_of, first)
        jobs = [] if "skipped" in scored.facts else ["load_scores"]
        for job in (*jobs, "measure_outcomes", "profile_partition"):
            self.run(job, self.name, "use_case", as_of, first)
        options = {"backfill": "true"} if first else {}
        decision = self.run("decide_retraining", self.name, "use_case", as_of, first, **options)
        if reports:
            self.run("render_report", self.name, "use_case", as_of, first)
        return decision

    def retrain(self, as_of: datetime, requests: Sequence[datetime] = ()) -> JobResult:
        """Run the retraining chain; return the promotion's result."""
        asked = json.dumps([request.isoformat() for request in requests])
        plan = self.run("plan_retraining", self.name, "use_case", as_of, requests=asked)
        judged_from = plan.facts["judged_from"]
        self.run("check_leakage", self.name, "use_case", as_of)
        for candidate in json.loads(plan.facts["candidates"]):
            self.run("train_candidate", self.name, "use_case", as_of, candidate=candidate, judged_from=judged_from)
        for job in ("judge_candidates", "refit_recipe", "promote_model"):
            self.run(job, self.name, "use_case", as_of, judged_from=judged_from)
        return self.results[-1]

    def rows(self, ref: DatasetRef) -> Any:
        """Return a table of the lake as pandas, main variant, in a stable order."""
        table = DeltaTable(f"{self.settings.lake}/{ref.path}").to_pandas()
        return table.sort_values(list(table.columns), ignore_index=True, key=lambda column: column.astype(str))


def copy_home(home: Path, to: Path) -> None:
    """Copy a state folder, in a process of its own: closing a file drops every lock that a process holds on it.

    So a database that this process has open would lose its write-ahead log under it.
    """
    subprocess.run(["cp", "-aT", home, to], check=True)


def copy_folders(use_case: str, to: Path) -> Path:
    """Copy the packaged sources and one packaged use case to a folder where they may be changed; return the folder."""
    shutil.copytree(CHECKOUT / "include" / "sources", to / "sources")
    shutil.copytree(CHECKOUT / "include" / "use_cases" / use_case, to / "use_cases" / use_case)
    return to


@contextmanager
def job_environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
