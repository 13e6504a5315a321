"""Run the demo: start the stack, tell both chapters, write `demo.json`, say what happened."""

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nightloop.demo.airflow_api import AirflowApi
from nightloop.demo.findings import Findings
from nightloop.demo.nights import Scheduler
from nightloop.demo.progress import Progress
from nightloop.demo.story import Chapter, tell_loan, tell_taxi
from nightloop.demo.world import World
from nightloop.engine.server import SMALL_NIGHTS
from nightloop.fault import Fault, NightloopError
from nightloop.folders.loading import load_source, load_use_case
from nightloop.run import EXIT_INPUT, EXIT_OK
from nightloop.settings import Settings
from nightloop.simulate.params import DriftKind
from nightloop.stack.environment import TELEMETRY_OFF
from nightloop.stack.stack import Stack, stop_stack
from nightloop.stores.ledger.ledger import Ledger
from nightloop.stores.registry.registry import Registry

TAXI_ROWS_PER_NIGHT = 1_500
LOAN_ROWS_PER_NIGHT = 600
_MARK = ".nightloop-demo"
_NIGHTS_END = "2025-12-31"  # the story plays in the past; no schedule of its stack shall tick in the present


def run_demo(settings: Settings, console: Console, *, stays_up: bool) -> int:
    """Tell the story from a clean state folder; return 0 only if the loop closed.

    Raises:
        NightloopError: the state folder holds something that no demo put there.
    """
    _start_over(settings.home)
    prepare_environment()
    stack = Stack(settings, are_dags_paused=True)
    try:
        is_closed = _tell_story(settings, stack, console)
        if stays_up and is_closed:
            _stay_up(stack, console)
    finally:
        stack.stop()
    return EXIT_OK if is_closed else EXIT_INPUT


def prepare_environment() -> None:
    """Set what the demo's stack runs with; what the user has set for the engine stays."""
    os.environ.update({**SMALL_NIGHTS, **os.environ, **TELEMETRY_OFF, "NIGHTLOOP_NIGHTS_END": _NIGHTS_END})


def _tell_story(settings: Settings, stack: Stack, console: Console) -> bool:
    """Tell both chapters, write `demo.json` and print what happened; say whether the loop closed."""
    progress = Progress(console)
    document: dict[str, Any] = {"closed": False, "use_cases": {}}
    try:
        with progress.shown():
            _tell_chapters(settings, stack, progress, document)
        document["closed"] = _is_closed(document["use_cases"])
    except NightloopError as error:
        document["error"] = str(error)
        console.print(Text.assemble(("The story broke off: ", "red"), str(error)))
    document["seconds"] = progress.phases
    (settings.home / "demo.json").write_text(json.dumps(document, indent=1))
    print_summary(document, console)
    return bool(document["closed"])


def _tell_chapters(settings: Settings, stack: Stack, progress: Progress, document: dict[str, Any]) -> None:
    with progress.step("start Airflow, Spark Connect and MLflow") as step:
        stack.start()
        stack.wait_ready(on_ready=lambda name, seconds: setattr(step, "note", f"{name} after {seconds:.0f} s"))
        step.note = f"web UI at {stack.airflow_url}, user {stack.user}"
    # this process opens Spark sessions and the ledger too, and the server asks it for the stack's token
    os.environ.update(stack.job_environment)
    with closing(AirflowApi(stack.airflow_url, stack.user, stack.password)) as api:
        open_chapter = partial(_open_chapter, settings, stack, api, progress)
        taxi = open_chapter("taxi_duration", TAXI_ROWS_PER_NIGHT, "concept")
        document["use_cases"]["taxi_duration"] = tell_taxi(taxi)
        loan = open_chapter("loan_default", LOAN_ROWS_PER_NIGHT, "covariate")
        document["use_cases"]["loan_default"] = tell_loan(loan)


def _open_chapter(
    settings: Settings,
    stack: Stack,
    api: AirflowApi,
    progress: Progress,
    name: str,
    rows_per_night: int,
    drift: DriftKind,
) -> Chapter:
    use_case = load_use_case(name, settings.folders)
    sources = tuple(load_source(source, settings.folders) for source in use_case.sources)
    scheduler = Scheduler(api, use_case, sources)
    api.wait_for_dags(scheduler.dag_ids)
    world = World(use_case, stack.remote, settings.landing, rows_per_night, drift)
    registry = Registry(stack.mlflow_url, settings.artifacts)
    findings = Findings(use_case, Ledger.open(settings.ledger_url), registry, settings.lake)
    return Chapter(scheduler, world, findings, progress)


def _is_closed(use_cases: Mapping[str, Mapping[str, Any]]) -> bool:
    """Say whether its asset woke the retraining, the new champion errs less, and the loan's answer is `wait`."""
    taxi, loan = use_cases["taxi_duration"], use_cases["loan_default"]
    before, after = taxi["champion_before"], taxi["champion_after"]
    return (
        taxi["retraining_run_type"] == "asset_triggered"
        and after["version"] > before["version"]
        and after["metric"] < before["metric"]
        and loan["verdict_answer"] == "wait"
        and loan["wait_until"] is not None
    )


def print_summary(document: Mapping[str, Any], console: Console) -> None:
    """Print what `demo.json` holds, for a person."""
    table = Table(title="What happened", box=None, title_justify="left", pad_edge=False)
    names = list(document["use_cases"])
    for heading in ("", *names):
        table.add_column(heading, overflow="fold")
    lines = [key for key in next(iter(document["use_cases"].values()), {}) if key != "error_by_night"]
    for key in dict.fromkeys([*lines, "wait_until"]):
        table.add_row(
            key.replace("_", " "), *(Text(_tell_value(document["use_cases"][name].get(key))) for name in names)
        )
    console.print(table)
    total = sum(document["seconds"].values())
    answer = "[green]The loop closed[/]" if document["closed"] else "[red]The loop did not close[/]"
    console.print(f"{answer} in {total / 60:.1f} minutes.", highlight=False)


def _tell_value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_tell_value(entry)}" for key, entry in value.items() if entry is not None)
    if isinstance(value, list):
        return ", ".join(_tell_value(entry) for entry in value)
    return f"{value:.3f}" if isinstance(value, float) else "—" if value is None else str(value)


def _stay_up(stack: Stack, console: Console) -> None:
    console.print(f"Web UI: {stack.airflow_url}  user {stack.user}  password {stack.password}", highlight=False)
    console.print(f"MLflow: {stack.mlflow_url}", highlight=False)
    console.print("Ctrl-C ends the stack.")
    try:
        stack.watch()
    except KeyboardInterrupt:
        console.print("Ending the stack …")


def _start_over(home: Path) -> None:
    """Empty the demo's own state folder; a folder that no demo made is left alone."""
    if home.exists() and any(home.iterdir()) and not (home / _MARK).exists():
        raise NightloopError(
            Fault(
                str(home), "an empty folder or an earlier demo's", "other files", "set NIGHTLOOP_HOME to a fresh folder"
            )
        )
    # services of a demo that was killed would go on writing into the folder
    stop_stack(home)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    (home / _MARK).touch()
