"""The steps of an erasure, each safe to repeat, in the order in which nothing erased can come back."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightloop.dataset import DatasetRef
from nightloop.erasure.find import ORIGIN, ROW, Found, find_rows, name_subject
from nightloop.erasure.landed import LandedSource, rerecord_file
from nightloop.erasure.request import Inbox, Journal, Request
from nightloop.erasure.sweep import Swept, sweep_folder
from nightloop.fault import Fault, NightloopError, TransientError
from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.privacy.subject import Place, Subject
from nightloop.privacy.traces import Traces, compile_traces
from nightloop.settings import Settings
from nightloop.stores.lake.history import LakeHistory, delete_rows
from nightloop.stores.lake.lake import Lake
from nightloop.stores.lake.upkeep import drop_owned_stages
from nightloop.stores.ledger.ledger import Ledger
from nightloop.stores.reports import Reports
from nightloop.stores.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    from nightloop.stores.registry.registry import Registry

CERTIFICATES = "erasure"
_SOURCE_LAYERS, _USE_CASE_LAYERS = ("raw", "clean", "quarantine"), ("features", "labels", "scores")


@dataclass(frozen=True)
class Stores:
    """Everything that may hold a subject."""

    settings: Settings
    lake: Lake
    ledger: Ledger
    warehouse: Warehouse
    reports: Reports
    registry: "Registry"


@dataclass
class Erasure:
    """One request, its journal, and the stores it is carried out on."""

    journal: Journal
    stores: Stores
    sources: Mapping[str, Source]
    use_cases: Mapping[str, UseCase]
    keys: Sequence[bytes]

    @cached_property
    def history(self) -> LakeHistory:
        return LakeHistory(self.stores.settings.lake)

    @property
    def found(self) -> dict[str, Any]:
        found: dict[str, Any] = self.journal.results["found"]
        return found

    @cached_property
    def subject(self) -> Subject:
        values = {Place(*place): set(texts) for *place, texts in self.found["values"]}
        return Subject((), values)

    @cached_property
    def traces(self) -> Traces:
        return compile_traces(self.subject.texts)

    @property
    def owners(self) -> list[str]:
        """The sources and use cases that know the subject."""
        named = {owner for stage in ("raw", "clean", "spine") for owner in self.subject.owners(stage)}
        return sorted(named | {path.split("/")[1] for path in self.found["keys"]})

    def find(self, request: Request | None) -> None:
        """Search everything for the subject, and write down what was found before anything is changed.

        Raises:
            NightloopError: nobody knows the subject.
        """
        if request is not None:
            self.journal.once("found", partial(self._find, request))

    def _find(self, request: Request) -> dict[str, Any]:
        subject = name_subject(request, self.sources, [*self.use_cases.values()], self.keys)
        found = find_rows(subject, self.sources, [*self.use_cases], self.history)
        traces = compile_traces(subject.texts)
        landed = {name: self._landed(name, subject, traces).plan() for name in self.sources}
        warehouse = {name: self._find_entities(name, found) for name in self.use_cases}
        if not (found.keys or any(landed.values()) or any(map(any, (one.values() for one in warehouse.values())))):
            where = f"request {request.name}: {request.source} by {', '.join(request.columns)}"
            remedy = "nothing was changed; correct the identifiers or remove the request, which still holds them"
            raise NightloopError(Fault(where, "at least one row of the subjects", "none anywhere", remedy))
        return {
            "values": [[p.stage, p.owner, p.column, sorted(texts)] for p, texts in sorted(subject.values.items())],
            "keys": {path: sorted(keys) for path, keys in sorted(found.keys.items())},
            "live": {path: len(keys) for path, keys in sorted(found.live.items())},
            "labels": sorted(found.labels),
            "landed": {name: planned for name, planned in landed.items() if planned},
            "warehouse": {name: tables for name, tables in warehouse.items() if any(tables.values())},
        }

    def erase_landed(self, token: int) -> None:
        """Write landed files anew; the manifest learns their new sizes, so that a night's rerun finds them."""
        for name, planned in self.found["landed"].items():
            landed = self._landed(name, self.subject, self.traces)
            record = partial(rerecord_file, self.stores.ledger, name, token)
            self.journal.once(f"landed/{name}", partial(landed.erase, planned, record))

    def erase_lake(self, abandoned: datetime) -> None:
        """Delete the rows of every table in one commit each, then what the table keeps beside its newest version."""
        self.journal.once("stages", lambda: drop_owned_stages(self.stores.lake, self.owners))
        for ref in self.history.tables():
            if ref.owner in self.owners:
                self.journal.once(f"lake/{ref}/before", lambda: self.history.version(ref))  # noqa: B023 - called at once
                self.journal.once(f"lake/{ref}/after", partial(self._delete_rows, ref))
                # written down before anything is removed: after a kill nothing could tell what is gone
                history = self.journal.once(f"lake/{ref}/history", partial(self._list_history, ref, abandoned))
                self.journal.once(f"lake/{ref}/removed", partial(self._remove, history))

    def erase_databases(self) -> None:
        """Delete the subject from the warehouse and from texts of the ledger, and have both forget deleted rows."""
        for name, tables in self.found["warehouse"].items():
            keys = set().union(*tables.values())
            self.journal.once(f"warehouse/{name}", partial(self.stores.warehouse.erase_entities, name, keys))
        for name, store in (("ledger", self.stores.ledger), ("warehouse", self.stores.warehouse)):
            self.journal.once(f"texts/{name}", partial(store.redact, self.traces.whole))
            store.purge_deleted_rows()

    def erase_files(self) -> None:
        """Remove reports that may show a sample with the subject, and traces in any other file of the state folder.

        Raises:
            NightloopError: a file holds a trace, and no rule says how to take it out.
        """
        self.journal.once("reports", self._remove_reports)
        self.journal.once("work", self._remove_work)
        self.stores.ledger.close()  # a handle on a database file that is closed drops the locks of the open ones
        self.stores.warehouse.close()
        # in every attempt, as a run under way may have written since; the certificate names what all of them treated
        swept: Swept = sweep_folder(self.stores.settings, self.traces)
        earlier = self.journal.results.get("swept", {})
        self.journal.forget("swept")
        self.journal.once("swept", lambda: {**earlier, **swept.treated})
        if swept.left:
            remedy = "remove the trace by hand and run the erasure again; everything else is erased"
            raise NightloopError([Fault(f"trace in {hit.path}", "none", hit.where, remedy) for hit in swept.left])

    def verify(self) -> None:
        """Search the lake once more.

        Raises:
            TransientError: a run that was under way has brought the subject back, or is about to.
        """
        again = find_rows(self.subject, self.sources, [*self.use_cases], self.history)
        warehouse = {name: self._find_entities(name, again) for name in self.use_cases}
        loaded = {name: tables for name, tables in warehouse.items() if any(tables.values())}
        if again.keys or loaded:
            self._add(again, loaded)
            places = ", ".join([*sorted(again.keys), *(f"warehouse of {name}" for name in loaded)])
            raise TransientError(f"{places}: a run under way wrote rows of the subject; erase again when it has ended")

    def _add(self, again: Found, loaded: Mapping[str, Any]) -> None:
        """Have the next attempt erase what a run under way has written since the search."""
        for path, keys in again.keys.items():
            known = {tuple(key) for key in self.found["keys"].get(path, [])}
            self.found["keys"][path] = sorted(known | keys)
            self.found["live"][path] = self.found["live"].get(path, 0) + len(again.live.get(path, ()))
            done = self.journal.results.get(f"lake/{path}/history", {})
            for kind, paths in self.journal.results.pop(f"lake/{path}/earlier", {}).items():
                done[kind] = [*paths, *done[kind]]
            self.journal.results[f"lake/{path}/earlier"] = done
        self.found["warehouse"].update(loaded)
        # not `before`: the certificate names the version that the first attempt found;
        # `forget` writes the journal, and with it what was added above
        again_due = [f"lake/{path}/{step}" for path in again.keys for step in ("after", "history", "removed")]
        for step in (*again_due, *(f"warehouse/{name}" for name in loaded), "stages"):
            self.journal.forget(step)

    def _find_entities(self, use_case: str, found: Found) -> dict[str, dict[str, int]]:
        columns = found.subject.columns("spine", use_case)
        parts = [columns.get(name, set()) for name in self.use_cases[use_case].entity]
        whole = {key[0].rpartition("@")[0] for key in found.of_owner(use_case, _USE_CASE_LAYERS)}
        return self.stores.warehouse.find_entities(use_case, whole, parts)

    def _landed(self, name: str, subject: Subject, traces: Traces) -> LandedSource:
        columns = {column: texts for column, texts in subject.columns("raw", name).items() if texts}
        known = {column: texts for column, texts in columns.items() if column in self.sources[name].columns}
        return LandedSource(self.sources[name], self.stores.settings.landing, known, self.keys, traces.whole)

    def _delete_rows(self, ref: DatasetRef) -> int:
        keys = self.found["keys"].get(str(ref), []) if self.found["live"].get(str(ref)) else []
        if not keys:
            return self.history.version(ref)
        names = ORIGIN if ref.layer in _SOURCE_LAYERS else ROW
        return delete_rows(self.stores.lake, ref, dict(zip(names, zip(*keys, strict=True), strict=True)))

    def _list_history(self, ref: DatasetRef, abandoned: datetime) -> dict[str, list[str]]:
        dead, _, logs = self.history.list_history(ref, self.history.checkpoint(ref), abandoned)
        return {"files": [file.path for file in dead], "logs": logs}

    def _remove(self, history: Mapping[str, Sequence[str]]) -> bool:
        self.history.remove([*history["files"], *history["logs"]])
        return True

    def _remove_work(self) -> list[str]:
        """Remove what trainings left of their rows; one that is running fails and is tried again."""
        left = [self.stores.settings.work / name for name in self.owners]
        folders = [folder for folder in left if folder.is_dir()]
        for folder in folders:
            shutil.rmtree(folder)
        return [str(folder) for folder in folders]

    def _remove_reports(self) -> list[str]:
        removed = []
        for owner in self.owners:
            nights = [
                key[-2] for path, keys in self.found["keys"].items() if path.split("/")[1] == owner for key in keys
            ]
            for path in self.stores.reports.find(owner, min(nights), but=CERTIFICATES) if nights else ():
                path.unlink()
                removed.append(str(path))
        return removed


def open_erasure(
    name: str,
    inbox: Inbox,
    stores: Stores,
    sources: Mapping[str, Source],
    use_cases: Mapping[str, UseCase],
    keys: Sequence[bytes],
) -> Erasure:
    """Return the erasure of a request, where an earlier attempt left it."""
    return Erasure(Journal(inbox.journal_path(name)), stores, sources, use_cases, keys)


def list_state(settings: Settings) -> list[Path]:
    """Return the local folders that hold state: the home, and what was moved out of it."""
    moved = (settings.landing, settings.lake, settings.artifacts)
    outside = [Path(address).resolve() for address in moved if "://" not in address]
    return [settings.home, *(path for path in outside if not path.is_relative_to(settings.home))]
