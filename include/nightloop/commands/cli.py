"""The command `nightloop`. Every command imports what it needs when it runs, so that each starts quickly."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightloop.fault import NightloopError
from nightloop.run import EXIT_INPUT, EXIT_OK, MAIN_VARIANT, parse_instant
from nightloop.settings import CHECKOUT, Settings
from nightloop.stack.signals import install_handlers

if TYPE_CHECKING:
    from nightloop.stack.stack import StackState

app = typer.Typer(
    name="nightloop",
    help="A folder that describes one prediction problem, run as a nightly machine-learning loop.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys_app = typer.Typer(help="The keys under which personal data is hashed.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
DEMO_HOME = Path(".nightloop") / "demo"
EXIT_INTERRUPTED = 130  # as a shell tells an end by SIGINT
_POLL_SECONDS = 0.3


@app.command()
def doctor() -> None:
    """Check Java, compilers, jars, versions, ports, disk and memory; say what to do about each fault."""
    from nightloop.commands.doctor import examine, print_findings

    findings = examine(Settings.from_environment())
    print_findings(findings)
    raise typer.Exit(0 if all(finding.is_good for finding in findings) else 1)


@app.command()
def up(
    *,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay until Ctrl-C.")] = False,
    paused: Annotated[bool, typer.Option("--paused", help="Leave new DAGs paused.")] = False,
) -> None:
    """Start Airflow, the Spark Connect server and MLflow on this machine."""
    settings = Settings.from_environment()
    if foreground:
        _stay_up(settings, paused=paused)
    else:
        _start_behind(settings, paused=paused)


@app.command()
def down() -> None:
    """End the stack of this state folder and, where NIGHTLOOP_HOME is not set, that of the demo."""
    from nightloop.stack.stack import stop_stack

    home = Settings.from_environment().home
    homes = [home] if "NIGHTLOOP_HOME" in os.environ else [home, DEMO_HOME.resolve()]
    ended = sum(stop_stack(folder) for folder in homes)
    typer.echo(f"ended {ended} processes" if ended else "nothing was running")


@app.command()
def migrate() -> None:
    """Bring ledger and warehouse to the revision of this version; `up` and `demo` do it by themselves."""
    from nightloop.stack.databases import migrate_stores

    with _faults_shown():
        migrate_stores(Settings.from_environment())
    typer.echo("ledger and warehouse are up to date")


@app.command()
def status(*, lake: Annotated[bool, typer.Option("--lake", help="Print the lake's sizes instead.")] = False) -> None:
    """Print where the stack runs and each use case's champion, last night and last verdict."""
    from rich.console import Console

    from nightloop.commands.status import print_lake, print_status
    from nightloop.folders.loading import load_use_cases
    from nightloop.stack.stack import find_stack
    from nightloop.stores.ledger.ledger import Ledger

    settings = Settings.from_environment()
    if lake:
        print_lake(settings.lake, Console())
        return
    running = find_stack(settings.home)
    typer.echo(f"stack: {_describe(running)}" if running else "stack: not running; `nightloop up` starts it")
    with _faults_shown():
        print_status(Ledger.open(settings.ledger_url), load_use_cases(settings.folders), Console())


@app.command()
def trace(
    use_case: Annotated[str, typer.Argument(help="Name of the use case.")],
    row_id: Annotated[str, typer.Argument(help="Row id of the prediction, or the entity key.")],
    *,
    as_of: Annotated[str | None, typer.Option("--as-of", help="Night of the prediction, ISO 8601, UTC.")] = None,
    variant: Annotated[str, typer.Option("--variant", help="Variant of the run.")] = MAIN_VARIANT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell the model, training snapshot, feature partition, raw files and code version behind a prediction."""
    from rich.console import Console

    from nightloop.commands.trace import Tracer, print_trace
    from nightloop.folders.loading import load_source, load_use_case
    from nightloop.stores.lake.files import LakeFiles
    from nightloop.stores.ledger.ledger import Ledger

    settings = Settings.from_environment()
    with _faults_shown():
        loaded = load_use_case(use_case, settings.folders)
        ledger = Ledger.open(settings.ledger_url)
        find = partial(load_source, folders=settings.folders)
        tracer = Tracer(loaded, find, LakeFiles(settings.lake), ledger, variant)
        found = tracer.trace(row_id, parse_instant(as_of) if as_of else None)
    if as_json:
        typer.echo(found.to_json())
    else:
        print_trace(found, Console())


@app.command()
def validate(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders that hold sources/ and use_cases/; default: this installation's."),
    ] = None,
) -> None:
    """Check folders of sources and use cases, and print every fault of each."""
    from nightloop.folders.validation import validate_folders

    faults = validate_folders(paths or Settings.from_environment().folders)
    for fault in faults:
        typer.echo(str(fault), err=True)
    if faults:
        typer.echo(f"{len(faults)} faults", err=True)
        raise typer.Exit(EXIT_INPUT)
    typer.echo("no faults")


@app.command()
def prove(
    use_case: Annotated[str, typer.Argument(help="Name of the use case.")],
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="Night to prove, ISO 8601, UTC; default: one drawn.")
    ] = None,
    sample: Annotated[int, typer.Option("--sample", min=1, help="Rows to recompute.")] = 500,
) -> None:
    """Recompute stored features from a lake without their future, and compare every value."""
    from nightloop.commands.proof import run_proof

    with _faults_shown():
        code = run_proof(Settings.from_environment(), use_case, as_of, sample)
    typer.echo("no difference" if code == EXIT_OK else "the proof failed", err=code != EXIT_OK)
    raise typer.Exit(code)


@app.command()
def reproduce(
    use_case: Annotated[str, typer.Argument(help="Name of the use case.")],
    version: Annotated[int, typer.Argument(help="Version of its model; `nightloop status` names the champion's.")],
) -> None:
    """Train a registered model again from its pins, and compare rows, bytes and scores with the first time."""
    from nightloop.folders.loading import load_use_case
    from nightloop.loop.retraining.reproduction import reproduce_model

    settings = Settings.from_environment()
    with _faults_shown():
        found = reproduce_model(load_use_case(use_case, settings.folders), version, settings, typer.echo)
    typer.echo(str(found), err=not found.is_explained)
    raise typer.Exit(EXIT_OK if found.is_explained else EXIT_INPUT)


@app.command()
def lineage(
    use_case: Annotated[str, typer.Argument(help="Name of the use case.")],
    column: Annotated[str | None, typer.Argument(help="One column of its features; default: all.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Print which columns of which sources each feature is made from, read from the SQL itself."""
    from rich.console import Console

    from nightloop.commands.lineage_listing import list_lineage, print_lineage

    with _faults_shown():
        made_from = list_lineage(use_case, column, Settings.from_environment().folders)
    print_lineage(made_from, Console(), as_json=as_json)


@app.command()
def schema() -> None:
    """Write the JSON Schemas of the YAML files anew, for editors."""
    from nightloop.folders.json_schema import write_schemas

    write_schemas(CHECKOUT / "include" / "schemas")


@keys_app.command("list")
def list_keys() -> None:
    """Print every key by its id, the nights hashed under each, and which joins they part."""
    from nightloop.commands.privacy import print_keys

    with _faults_shown():
        print_keys(Settings.from_environment())


@keys_app.command("rotate")
def rotate_keys() -> None:
    """Draw a new key for the nights to come; nights that are keep theirs, also when they run again."""
    from nightloop.commands.privacy import print_keys
    from nightloop.stores.keys import rotate_key

    settings = Settings.from_environment()
    with _faults_shown():
        rotate_key(settings.home)
        print_keys(settings)
    typer.echo("the next nights are hashed under the current key and no longer meet earlier ones in hashed columns")


@app.command("search-traces")
def search_for_traces(
    request: Annotated[Path, typer.Argument(help="File with one identifier per line, mode 0600.")],
    under: Annotated[list[Path] | None, typer.Option(help="Folders to search; default: the whole state.")] = None,
) -> None:
    """Search the state folder, every format decoded, for identifiers and their hashes; exit code 1 where one is."""
    from nightloop.commands.privacy import print_traces

    with _faults_shown():
        raise typer.Exit(1 if print_traces(Settings.from_environment(), request, under) else 0)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def simulate(context: typer.Context) -> None:
    """Land simulated files of a packaged use case; `nightloop simulate --help` lists the options."""
    from nightloop.simulate.__main__ import main as run_simulator

    raise typer.Exit(run_simulator(context.args))


@app.command()
def demo() -> None:
    """Show the whole loop through the real scheduler, in a state folder of its own; CI=true ends it with the story."""
    from rich.console import Console

    from nightloop.demo.run import run_demo

    os.environ.setdefault("NIGHTLOOP_HOME", str(DEMO_HOME))
    settings = Settings.from_environment()
    try:
        with _faults_shown():
            raise typer.Exit(run_demo(settings, Console(), stays_up=os.environ.get("CI") != "true"))
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None


def main() -> None:
    """Run the command line; a SIGTERM ends it as Ctrl-C does, so that nothing it started is left behind."""
    install_handlers()
    app()


def _stay_up(settings: Settings, *, paused: bool) -> None:
    from nightloop.stack.stack import Stack

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        with _faults_shown(), Stack(settings, are_dags_paused=paused) as stack:
            typer.echo(f"Airflow {stack.airflow_url}\nMLflow  {stack.mlflow_url}\nCtrl-C ends the stack")
            stack.watch()
    except KeyboardInterrupt:
        typer.echo("the stack has ended")


def _start_behind(settings: Settings, *, paused: bool) -> None:
    """Start a supervisor that outlives this command and wait until its stack answers."""
    from nightloop.stack.stack import StackState

    log = settings.home / "logs" / "stack.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "nightloop.commands.cli", "up", "--foreground", *(["--paused"] if paused else [])]
    with log.open("wb") as sink:
        supervisor = subprocess.Popen(
            command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
        )
    start = time.monotonic()
    # the state of a stack that was killed may still lie there: only this supervisor's counts
    while (
        (state := StackState.read(settings.home)) is None
        or state.supervisor.pid != supervisor.pid
        or not state.is_ready
    ):
        if supervisor.poll() is not None:
            typer.echo(log.read_text(errors="replace")[-4000:], err=True)
            raise typer.Exit(supervisor.returncode or 1)
        time.sleep(_POLL_SECONDS)
    typer.echo(f"up after {time.monotonic() - start:.0f} s")
    _print_state(settings, state)


def _print_state(settings: Settings, state: "StackState") -> None:
    from nightloop.stack.secrets import ADMIN, StackSecrets

    typer.echo(_describe(state))
    typer.echo(f"login   {ADMIN} / {StackSecrets.of_home(settings.home).airflow_password}")
    typer.echo(f"logs    {settings.home / 'logs'}")


def _describe(state: "StackState") -> str:
    return "\n".join(f"{name.capitalize():8}{url}" for name, url in state.urls.items())


@contextmanager
def _faults_shown() -> Iterator[None]:
    """Print an error that the user can act on without its traceback."""
    try:
        yield
    except NightloopError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_INPUT) from None


if __name__ == "__main__":
    main()
