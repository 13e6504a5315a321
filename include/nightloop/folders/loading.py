"""Find, read and type the folders below `sources/` and `use_cases/`.

Light: Airflow imports this while it parses DAGs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import BaseModel, ValidationError
from yaml.nodes import MappingNode, Node, SequenceNode

from nightloop.fault import Fault, NightloopError
from nightloop.folders.schedule import is_schedule
from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.quality.params import Suite

_MAX_BYTES = 1_000_000
_MAX_FOUND = 80
# safe tags only; the one in C where it was built, for Airflow reads the folders at every parse
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Model = TypeVar("Model", bound=BaseModel)
EntryPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """A YAML file: its values, and the line on which each of its entries stands."""

    file: Path
    values: dict[str, Any]
    lines: Mapping[EntryPath, int]

    def where(self, path: EntryPath = ()) -> str:
        """Name an entry as `file:line key.path`; an entry that is absent stands at its closest parent."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        line = self.lines.get(known, 1)
        entry = ".".join(str(part) for part in path)
        return f"{self.file}:{line} {entry}".rstrip()


def load_source(name: str, folders: Sequence[Path]) -> Source:
    """Load one source's folder.

    Raises:
        NightloopError: the folder is missing or wrong; carries every fault.
    """
    return read_source(_find("sources", name, folders))


def load_use_case(name: str, folders: Sequence[Path]) -> UseCase:
    """Load one use case's folder.

    Raises:
        NightloopError: the folder is missing or wrong; carries every fault.
    """
    return read_use_case(_find("use_cases", name, folders))


def load_sources(folders: Sequence[Path]) -> list[Source]:
    """Load every source, by name."""
    return _load_all(Source, list_folders("sources", folders))


def load_use_cases(folders: Sequence[Path]) -> list[UseCase]:
    """Load every use case, by name."""
    return _load_all(UseCase, list_folders("use_cases", folders))


def list_folders(kind: str, folders: Sequence[Path]) -> list[Path]:
    """List the folders of a kind, by name; of two with one name the first in `folders` counts."""
    found: dict[str, Path] = {}
    for root in folders:
        parent = root / kind
        for folder in sorted(parent.iterdir()) if parent.is_dir() else ():
            if folder.is_dir() and not folder.name.startswith((".", "_")):
                found.setdefault(folder.name, folder)
    return [found[name] for name in sorted(found)]


def read_source(folder: Path) -> Source:
    """Read the folder of a source."""
    return _read_folder(folder, Source, "source.yaml", {"clean_sql": "clean.sql"})


def read_use_case(folder: Path) -> UseCase:
    """Read the folder of a use case."""
    texts = {"spine_sql": "spine.sql", "features_sql": "features.sql", "label_sql": "label.sql"}
    return _read_folder(folder, UseCase, "use_case.yaml", texts)


def read_document(file: Path) -> Document:
    """Read a YAML file of ours: one mapping, safe tags, no key twice, no anchors or aliases.

    Raises:
        NightloopError: the file is missing or is no such YAML, with its line.
    """
    text = _read_text(file)
    try:
        return _compose(file, text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise NightloopError(Fault(f"{file}:{line}", "plain YAML", problem, "correct this line")) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise NightloopError(Fault(f"{file}:1", "plain YAML", _shorten(str(error)), "correct the file")) from None


def type_document(model: type[Model], document: Document, extra: Mapping[str, object]) -> Model:
    """Turn a document into its typed form; `extra` are fields that stand in other files.

    Raises:
        NightloopError: with one fault per wrong entry.
    """
    try:
        return model.model_validate({**document.values, **extra})
    except ValidationError as error:
        raise NightloopError(list(_explain(document, model, error))) from None


def _find(kind: str, name: str, folders: Sequence[Path]) -> Path:
    known = {folder.name: folder for folder in list_folders(kind, folders)}
    if name not in known:
        roots = ", ".join(str(root / kind) for root in folders)
        expected = f"one of {', '.join(known) or 'nothing'} in {roots}"
        raise NightloopError(Fault(f"{kind}/{name}", expected, "no such folder", "add the folder or correct the name"))
    return known[name]


def _load_all(model: type[Model], folders: Sequence[Path]) -> list[Model]:
    loaded: list[Model] = []
    faults: list[Fault] = []
    for folder in folders:
        try:
            loaded.append(read_source(folder) if model is Source else read_use_case(folder))  # type: ignore[arg-type]
        except NightloopError as error:
            faults.extend(error.faults)
    if faults:
        raise NightloopError(faults)
    return loaded


def _read_folder(folder: Path, model: type[Model], main: str, texts: Mapping[str, str]) -> Model:
    """Read every file of a folder before complaining, so that one error lists all faults."""
    faults: list[Fault] = []
    extra: dict[str, object] = dict.fromkeys(texts, "")
    for field, name in texts.items():
        try:
            extra[field] = _read_text(folder / name)
        except NightloopError as error:
            faults.extend(error.faults)
    # stands in for one that cannot be read, so that all other entries are still typed
    extra["suite"] = Suite()
    try:
        extra["suite"] = type_document(Suite, read_document(folder / "suite.yaml"), {})
    except NightloopError as error:
        faults.extend(error.faults)
    try:
        document = read_document(folder / main)
    except NightloopError as error:
        raise NightloopError([*error.faults, *faults]) from None
    if "name" in document.values and document.values["name"] != folder.name:
        expected = f"the folder's name, {folder.name}"
        faults.append(Fault(document.where(("name",)), expected, _show(document.values["name"]), "rename one of them"))
    faults = [*_check_schedules(document), *faults]
    try:
        typed = type_document(model, document, extra)
    except NightloopError as error:
        raise NightloopError([*error.faults, *faults]) from None
    if faults:
        raise NightloopError(faults)
    return typed


def _check_schedules(document: Document) -> Iterator[Fault]:
    training = document.values.get("training")
    refresh = training.get("refresh_schedule") if isinstance(training, dict) else None
    schedules: dict[EntryPath, object] = {
        ("schedule",): document.values.get("schedule"),
        ("training", "refresh_schedule"): refresh,
    }
    for path, cron in schedules.items():
        if isinstance(cron, str) and not is_schedule(cron):
            yield Fault(
                document.where(path), "a cron expression of five fields in UTC", _show(cron), "e.g. `0 2 * * *`"
            )


def _read_text(file: Path) -> str:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise NightloopError(Fault(f"{file}:1", f"at most {_MAX_BYTES} bytes", f"{file.stat().st_size} bytes"))
        return file.read_text(encoding="utf-8")
    except OSError as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else str(error.strerror)
        raise NightloopError(Fault(str(file), "a readable file", found, "add it")) from None
    except UnicodeDecodeError as error:
        raise NightloopError(
            Fault(f"{file}:1", "UTF-8 text", f"byte {error.start} is not", "save it as UTF-8")
        ) from None


def _compose(file: Path, text: str) -> Document:
    # before anything is built: aliases of aliases would fill the memory
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(
                problem="an anchor or alias; write the value out", problem_mark=cast("yaml.Mark", event.start_mark)
            )
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        lines = dict(_walk(node, ())) if node is not None else {}
        values = loader.construct_document(node) if node is not None else None
    finally:
        loader.dispose()
    if not isinstance(values, dict):
        raise yaml.YAMLError(f"a file that is no mapping but {type(values).__name__}")
    return Document(file, values, lines)


def _walk(node: Node, path: EntryPath) -> Iterator[tuple[EntryPath, int]]:
    """Yield the line of every entry; refuse a key that stands twice."""
    yield path, node.start_mark.line + 1
    if isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            yield from _walk(item, (*path, index))
    if isinstance(node, MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                problem = f"the key `{name}` a second time"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(name)
            yield from _walk(value, (*path, name))
            # after the value's own line, which it replaces: an entry stands where its key stands
            yield (*path, name), key.start_mark.line + 1


def _explain(document: Document, model: type[BaseModel], error: ValidationError) -> Iterator[Fault]:
    for entry in error.errors(include_url=False):
        path = entry["loc"]
        where = document.where(path)
        kind = entry["type"]
        if kind == "missing":
            yield Fault(where, f"the entry `{path[-1]}`", "nothing", "add it")
        elif kind == "extra_forbidden":
            known = _known_keys(model, path[:-1])
            expected = f"one of {', '.join(known)}" if known else "no such entry"
            yield Fault(where, expected, f"the unknown entry `{path[-1]}`", "correct its name or remove it")
        else:
            message = entry["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            yield Fault(where, message, _show(entry["input"]), "correct the value")


def _known_keys(model: type[BaseModel], path: EntryPath) -> list[str]:
    """Return the keys that a model knows at a path, as far as its annotations are plain models."""
    current: Any = model
    for part in path:
        field = getattr(current, "model_fields", {}).get(part)
        current = field.annotation if field is not None else None
    fields = getattr(current, "model_fields", {})
    return [name for name, field in fields.items() if not field.exclude]


def _show(value: object) -> str:
    return _shorten(repr(value))


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_FOUND else f"{line[: _MAX_FOUND - 1]}…"
