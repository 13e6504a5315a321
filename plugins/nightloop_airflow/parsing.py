"""What DAG modules need while Airflow parses them: the folders to build DAGs for, and the texts people read."""

import ast
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache

from airflow.sdk import get_parsing_context

from nightloop.fault import Fault, NightloopError
from nightloop.folders.loading import list_folders, load_source, load_use_case
from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.run import parse_instant
from nightloop.settings import CHECKOUT, Settings


def sources_of(family: str | None) -> Iterator[Source]:
    """Yield the sources for which a DAG module builds `<family>_<name>`, all or the one that is about to run.

    Without a family: every source, whatever is about to run. A folder with faults is left out, so that it takes no
    other DAG away; `folder_faults` names it.
    """
    for name in _names_of(family, "sources"):
        try:
            yield _load_source(name)
        except NightloopError:
            continue


def use_cases_of(family: str | None) -> Iterator[tuple[UseCase, Mapping[str, Source]]]:
    """Yield the use cases for which a DAG module builds `<family>_<name>`, with their sources; see `sources_of`.

    Without a family: every use case, whatever is about to run.
    """
    for name in _names_of(family, "use_cases"):
        try:
            use_case = load_use_case(name, Settings.from_environment().folders)
            sources = {source: _load_source(source) for source in use_case.sources}
        except NightloopError:
            continue
        yield use_case, sources


def folder_faults() -> list[Fault]:
    """Return every fault of every folder, in the order of `sources_of` and `use_cases_of`."""
    folders = Settings.from_environment().folders
    faults: list[Fault] = []
    for kind, load in (("sources", load_source), ("use_cases", load_use_case)):
        for folder in list_folders(kind, folders):
            try:
                loaded = load(folder.name, folders)
            except NightloopError as error:
                faults.extend(error.faults)
                continue
            if isinstance(loaded, UseCase):
                faults.extend(_missing_sources(loaded))
    return list(dict.fromkeys(faults))


def describe_dag(module_doc: str | None, folder: Source | UseCase) -> str:
    """Return the text of a DAG's page: what the folder is, whose it is, and what the DAG module says of itself."""
    heading = f"### {folder.name}\n\n{folder.description.strip()}\n\n**Owner:** {folder.owner}"
    return f"{heading}\n\n{(module_doc or '').strip()}"


@cache
def describe_job(job: str) -> str:
    """Return a job's docstring without importing it: what it reads, writes and fails on."""
    file = CHECKOUT / "jobs" / f"{job}.py"
    return (ast.get_docstring(ast.parse(file.read_text())) or "") if file.is_file() else ""


def nights_end() -> datetime | None:
    """Return the instant after which no schedule ticks: `NIGHTLOOP_NIGHTS_END`, for stacks that replay the past."""
    text = os.environ.get("NIGHTLOOP_NIGHTS_END")
    return parse_instant(text) if text else None


def title_of(family: str, name: str) -> str:
    """Return how a DAG is called on its page.

    >>> title_of("nightly", "loan_default")
    'Nightly: loan default'
    """
    return f"{family.capitalize()}: {name.replace('_', ' ')}"


def _names_of(family: str | None, kind: str) -> list[str]:
    names = [folder.name for folder in list_folders(kind, Settings.from_environment().folders)]
    dag_id = get_parsing_context().dag_id
    return names if dag_id is None or family is None else [name for name in names if dag_id == f"{family}_{name}"]


def _missing_sources(use_case: UseCase) -> Iterator[Fault]:
    known = {folder.name for folder in list_folders("sources", Settings.from_environment().folders)}
    for source in sorted(set(use_case.sources) - known):
        where = f"use_cases/{use_case.name}/use_case.yaml sources.{source}"
        yield Fault(where, f"one of {', '.join(sorted(known))}", source, "add the source's folder or correct the name")


@cache
def _load_source(name: str) -> Source:
    return load_source(name, Settings.from_environment().folders)
