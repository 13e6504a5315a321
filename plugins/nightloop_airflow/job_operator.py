"""Run one job as a process of its own and show it to Airflow: live log, result as XCom, exit code as task state."""

import json
import os
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from airflow.sdk import BaseOperator, BaseOperatorLink, Connection, Context
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
)

from nightloop.fault import NightloopError
from nightloop.run import JobResult
from nightloop.settings import CHECKOUT
from nightloop_airflow.command import (
    INTERRUPT,
    build_command,
    build_environment,
    classify_exit,
    connection_variables,
    describe_exit,
    split_level,
)
from nightloop_airflow.lineage import find_parent
from nightloop_airflow.links import DataDocsLink, MlflowLink, ReportLink
from nightloop_airflow.process import GuardedProcess
from nightloop_airflow.run_key import Run, reach_back, run_of_context

_LAST_LINES = 15


class JobOperator(BaseOperator):
    """Run `python -m jobs.<task id>` for the night that the DAG run stands for.

    Args:
        scope: name of the source or use case that the job works on.
        kind: `source`, `use_case` or `platform`.
        schedule: cron of that folder; None for platform jobs.
        start: first day of that folder's schedule.
        reach_days: how far before the run's first night the job shall begin; `unbounded`: at `start`.
        is_last_night_only: whether the job works as of the run's last night, also when the run is a range.
        options: further `--set` options of the job.
        connection: name of the database connection that the job reads, from Airflow where the environment lacks it.
        passes_requests: whether to hand the run's requests to the job, as its option `requests`.
        grace_seconds: time between SIGTERM and SIGKILL when the task is stopped; Airflow itself allows 5 s.
    """

    template_fields: Collection[str] = ("scope", "schedule", "options")
    operator_extra_links: Collection[BaseOperatorLink] = (MlflowLink(), ReportLink(), DataDocsLink())
    ui_color = "#e8f0ea"

    def __init__(  # noqa: PLR0913 - keywords only, each the name of a job's argument
        self,
        *,
        scope: str,
        kind: str,
        schedule: str | None = None,
        start: date | None = None,
        reach_days: int | str = 0,
        is_last_night_only: bool = False,
        options: Mapping[str, str] | None = None,
        connection: str | None = None,
        passes_requests: bool = False,
        grace_seconds: float = 3.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.scope = scope
        self.kind = kind
        self.schedule = schedule
        self.start = start
        self.reach_days = reach_days
        self.is_last_night_only = is_last_night_only
        self.options = options or {}
        self.connection = connection
        self.passes_requests = passes_requests
        self.grace_seconds = grace_seconds
        self.links: dict[str, str] = {}
        self._process: GuardedProcess | None = None

    @property
    def job(self) -> str:
        """Name of the job: the task's id without its groups."""
        return self.task_id.rpartition(".")[2]

    def execute(self, context: Context) -> dict[str, Any]:
        run = self._resolve_run(context)
        with TemporaryDirectory(prefix="nightloop-") as scratch:
            result_file = Path(scratch) / "result"
            code, last_lines = self._run_job(context, self._build_command(context, run, result_file), result_file)
            result = JobResult.read(result_file).to_dict() if result_file.is_file() else None
        outcome = classify_exit(code)
        if outcome == "success" and result is not None:
            return self._publish(context, run, result)
        if outcome == "skip":
            if result is not None:
                # a task that raises returns nothing, and its result says why it was skipped
                context["ti"].xcom_push("return_value", result)
            raise AirflowSkipException((result or {}).get("facts", {}).get("skipped") or "nothing to do")
        if outcome == "success":
            raise AirflowFailException(f"{self.job} ended with exit code 0 but left no result; its code is wrong")
        description = describe_exit(self.job, code, last_lines)
        raise AirflowFailException(description) if outcome == "fail" else AirflowException(description)

    def on_kill(self) -> None:
        if self._process is not None:
            self._process.stop()

    def _resolve_run(self, context: Context) -> Run:
        try:
            run = run_of_context(context, self.schedule)
        except NightloopError as error:
            raise AirflowFailException(str(error)) from None
        if self.is_last_night_only:
            return replace(run, first=run.as_of)
        return reach_back(run, self.reach_days, self.start) if self.start and self.reach_days else run

    def _build_command(self, context: Context, run: Run, result_file: Path) -> Sequence[str]:
        instance = context["ti"]
        attempt = f"{instance.dag_id}/{instance.run_id}/{instance.task_id}/{instance.map_index}/{instance.try_number}"
        options = dict(self.options)
        if self.passes_requests:
            options["requests"] = json.dumps([request.isoformat() for request in run.requests])
        return build_command(self.job, self.scope, self.kind, run, attempt, result_file, options)

    def _run_job(self, context: Context, command: Sequence[str], result_file: Path) -> tuple[int, Sequence[str]]:
        self.log.info("starting %s", " ".join(command[2:]))
        last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        with GuardedProcess(
            command,
            cwd=CHECKOUT,
            environment={**build_environment({**os.environ, **self._find_connection()}), **find_parent(context)},
            grace_seconds=self.grace_seconds,
            session_file=result_file.with_suffix(".session"),
            cleanup=INTERRUPT,
        ) as self._process:
            for line in self._process.lines():
                level, message = split_level(line)
                self.log.log(level, "%s", message)
                last_lines.append(line)
            return self._process.wait(), last_lines

    def _find_connection(self) -> dict[str, str]:
        """Return the variable that carries the job's connection; nothing where it is set already, or unknown."""
        own, airflow = connection_variables(self.connection) if self.connection else ("", "")
        if not self.connection or own in os.environ or airflow in os.environ:
            return {}
        try:
            return {airflow: Connection.get(self.connection).as_json()}
        except AirflowNotFoundException:
            return {}

    def _publish(self, context: Context, run: Run, result: dict[str, Any]) -> dict[str, Any]:
        self.links = result["links"]
        for asset in self.outlets:
            context["outlet_events"][asset].extra = {"as_of": run.as_of.isoformat(), "first": run.first.isoformat()}
        return result
