"""Run the loop's jobs without Airflow, in this process or as processes of their own, on a state folder of the test."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from nightloop.dataset import DatasetRef
from nightloop.folders import load_source, load_use_case
from nightloop.run import EXIT_OK, EXIT_SKIPPED, JobResult
from nightloop.schedule import last_tick_at_or_before
from nightloop.settings import CHECKOUT, Settings
from nightloop.source import Source
from nightloop.stores import ledger, warehouse
from nightloop.use_case import UseCase


@dataclass
class Loop:
    """One use case's loop on one state folder."""

    home: Path
    name: str
    remote: str
    folders: Sequence[Path] = (CHECKOUT / "include",)
    landing: Path | None = None
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
        with _environment(self.environment):
            code = importlib.import_module(f"jobs.{job}").main(
                self.arguments(result, scope, kind, as_of, first, options)
            )
        assert code in (EXIT_OK, EXIT_SKIPPED), f"{job} of {scope} ended with exit code {code}"
        self.results.append(JobResult.read(result))
        return self.results[-1]

    def start(
        self, job: str, scope: str, kind: str, as_of: datetime, first: datetime | None = None, **options: str
    ) -> "subprocess.Popen[bytes]":
        """Start one job as a process of its own, for tests that kill it."""
        arguments = self.arguments(self.home / f"{job}.result", scope, kind, as_of, first, options)
        command = [sys.executable, "-m", f"jobs.{job}", *arguments]
        return subprocess.Popen(command, cwd=CHECKOUT, env={**os.environ, **self.environment}, start_new_session=True)

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

    def night(self, as_of: datetime, first: datetime | None = None) -> JobResult:
        """Run one night (or a replay) of the use case, its sources first; return the decision."""
        self.ingest(as_of, first)
        self.run("build_features", self.name, "use_case", as_of, first)
        scored = self.run("score_batch", self.name, "use_case", as_of, first)
        jobs = [] if "skipped" in scored.facts else ["load_scores"]
        for job in (*jobs, "measure_outcomes", "profile_partition"):
            self.run(job, self.name, "use_case", as_of, first)
        options = {"backfill": "true"} if first else {}
        decision = self.run("decide_retraining", self.name, "use_case", as_of, first, **options)
        self.run("render_report", self.name, "use_case", as_of, first)
        return decision

    def retrain(self, as_of: datetime, requests: Sequence[datetime] = ()) -> JobResult:
        """Run the retraining chain; return the promotion's result."""
        asked = json.dumps([request.isoformat() for request in requests])
        plan = self.run("plan_retraining", self.name, "use_case", as_of, requests=asked)
        judged_from = plan.facts["judged_from"]
        for candidate in json.loads(plan.facts["candidates"]):
            self.run("train_candidate", self.name, "use_case", as_of, candidate=candidate, judged_from=judged_from)
        for job in ("judge_candidates", "refit_recipe", "promote_model"):
            self.run(job, self.name, "use_case", as_of, judged_from=judged_from)
        return self.results[-1]

    def rows(self, ref: DatasetRef) -> Any:
        """Return a table of the lake as pandas, main variant, in a stable order."""
        table = DeltaTable(f"{self.settings.lake}/{ref.path}").to_pandas()
        return table.sort_values(list(table.columns), ignore_index=True, key=lambda column: column.astype(str))


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
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
