"""`nightloop trace`: what stands behind one prediction, from the lake's files and the ledger, without Spark."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from nightloop.asof.params import SourceView
from nightloop.asof.records import equals, select_records
from nightloop.dataset import DatasetRef
from nightloop.fault import Fault, NightloopError
from nightloop.folders.schedule import previous_tick
from nightloop.folders.source import DECLARED_SLACK_DAYS, Source
from nightloop.folders.use_case import UseCase
from nightloop.run import MAIN_VARIANT, RunKey, format_night, parse_night
from nightloop.stores.lake.files import LakeFiles
from nightloop.stores.ledger.ledger import Ledger

_UNKNOWN = "not recorded"


@dataclass(frozen=True)
class Written:
    """One night of one table: the Delta version that holds it, who wrote it, and with which code."""

    table: str
    night: str
    version: int | None
    attempt: str
    code: str


@dataclass(frozen=True)
class Fitted:
    """The model that scored: what it is, which rows it saw, who made it champion, and with which code it was fitted."""

    version: int
    digest: str
    uri: str
    recipe: Mapping[str, Any]
    as_of: datetime
    snapshot: Mapping[str, Any]
    champion_since: datetime | None
    champion_why: str
    attempt: str
    code: str


@dataclass(frozen=True)
class Record:
    """One record that the prediction's features met: the line of the file that brought it."""

    source: str
    record: str
    file: str
    line: int
    checksum: str
    arrived_at: datetime | None
    known_at: datetime
    night: str


@dataclass(frozen=True)
class Trace:
    """One prediction and everything behind it."""

    use_case: str
    row_id: str
    decision_time: datetime
    score: float
    decision: int | None
    scores: Written
    model: Fitted
    features: Written
    records: tuple[Record, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, default=lambda value: value.isoformat())


@dataclass(frozen=True)
class Tracer:
    """Answers for one use case."""

    use_case: UseCase
    load_source: Callable[[str], Source]
    lake: LakeFiles
    ledger: Ledger
    variant: str = MAIN_VARIANT

    def trace(self, row_id: str, as_of: datetime | None = None) -> Trace:
        """Return what stands behind a prediction; an entity key stands for the row that it was scored under.

        Raises:
            NightloopError: there is no such prediction, or more than one.
        """
        name = self.use_case.name
        score = self._find_score(row_id, as_of)
        key = RunKey(name, parse_night(str(score["night"])), self.variant)
        features = DatasetRef("features", name, score["feature_version"])
        row = self._find_row(features, score["row_id"], key)
        return Trace(
            name,
            score["row_id"],
            score["decision_time"],
            score["score"],
            score["decision"],
            self._written(DatasetRef("scores", name), key),
            self._fitted(score["model_version"], key.as_of),
            self._written(features, key),
            tuple(record for source in self.use_case.sources for record in self._records(source, row, key.as_of)),
        )

    def _find_score(self, row_id: str, as_of: datetime | None) -> dict[str, Any]:
        names = ("row_id", "decision_time", "score", "decision", "model_version", "feature_version", "night")
        wanted = pc.field("variant") == self.variant
        if as_of is not None:
            wanted &= pc.field("night") == format_night(as_of)
        is_row = pc.field("row_id") == row_id if "@" in row_id else pc.starts_with(pc.field("row_id"), f"{row_id}@")
        scores = DatasetRef("scores", self.use_case.name)
        found: list[dict[str, Any]] = self._read(scores, wanted & is_row, names).to_pylist()
        if len(found) == 1:
            return dict(found[0])
        where = f"prediction {row_id} of {self.use_case.name}" + (f" as of {as_of.isoformat()}" if as_of else "")
        seen = ", ".join(f"{row['row_id']} in {row['night']}" for row in found[:20]) or "none"
        remedy = "name the row id, or the night by --as-of"
        raise NightloopError(Fault(where, "one row of the lake's scores", seen, remedy))

    def _find_row(self, ref: DatasetRef, row_id: str, key: RunKey) -> pa.Table:
        own = (pc.field("night") == key.night) & (pc.field("variant") == key.variant)
        row = self._read(ref, own & (pc.field("row_id") == row_id))
        if row.num_rows != 1:
            where, remedy = f"{ref} in {key.night}", "run build_features for the night"
            raise NightloopError(Fault(where, f"one row {row_id}", f"{row.num_rows}", remedy))
        return row

    def _read(self, ref: DatasetRef, condition: pc.Expression, columns: tuple[str, ...] | None = None) -> pa.Table:
        dataset = self.lake.table(ref).to_pyarrow_dataset()
        return dataset.to_table(columns=None if columns is None else list(columns), filter=condition)

    def _written(self, ref: DatasetRef, key: RunKey) -> Written:
        commit = self.ledger.find_commit(key, ref)
        if commit is None:
            return Written(str(ref), key.night, None, _UNKNOWN, _UNKNOWN)
        attempt = self.ledger.find_attempt(commit.token)
        return Written(str(ref), key.night, commit.version, attempt.attempt, attempt.code or _UNKNOWN)

    def _fitted(self, version: int, as_of: datetime) -> Fitted:
        scope = self.use_case.name
        model = self.ledger.model(scope, version)
        history = [one for one in self.ledger.champion_history(scope) if one.decided_as_of < as_of]
        changes = [one for one in history if one.version == version]
        attempt = self.ledger.last_attempt(scope, "refit_recipe", model.as_of)
        return Fitted(
            model.version,
            model.digest,
            model.uri,
            model.recipe,
            model.as_of,
            model.pins,
            changes[-1].decided_as_of if changes else None,
            changes[-1].why if changes else _UNKNOWN,
            attempt.attempt if attempt else _UNKNOWN,
            (attempt.code if attempt else None) or _UNKNOWN,
        )

    def _records(self, name: str, row: pa.Table, as_of: datetime) -> list[Record]:
        """Return the records of one source that a feature row met, each with the file that brought it."""
        source, view = self.load_source(name), self._view(name)
        key, decided = (
            {right: row.column(right)[0] for right in view.join.values()},
            row.column("decision_time")[0].as_py(),
        )
        versions, opened = self._versions(view, key, decided), None
        if source.known_at.by == "column":
            loaded = set(versions.column("night").to_pylist())
            opened = {night: previous_tick(source.schedule, parse_night(night)) for night in loaded}
        met = select_records(versions, view, key, decided, as_of, opened).to_pylist()
        nights = sorted({found["night"] for found in met})
        files = {
            (night, file.path): file
            for night in nights
            for file in self.ledger.files(name, parse_night(night), parse_night(night))
        }
        return [
            Record(
                name,
                "|".join(str(found[column]) for column in source.keys),
                found["_file"],
                found["_row"],
                file.checksum if (file := files.get((found["night"], found["_file"]))) else _UNKNOWN,
                file.arrived_at if file else None,
                found["known_at"].astimezone(UTC),
                found["night"],
            )
            for found in met
        ]

    def _versions(self, view: SourceView, key: Mapping[str, pa.Scalar], decided: datetime) -> pa.Table:
        """Return every version of the records of which some version joins the row, as far as its lookback reaches."""
        ref, reached = DatasetRef("clean", view.name), pc.field("variant") == MAIN_VARIANT
        if view.lookback_days != "unbounded":
            back = timedelta(days=view.lookback_days + DECLARED_SLACK_DAYS)
            reached &= pc.field("night") >= format_night(decided - back)
        joined = self._read(ref, reached, tuple(dict.fromkeys((*view.join, *view.record_keys))))
        for left, right in view.join.items():
            joined = joined.filter(equals(joined.column(left), key[right]))
        some = view.record_keys[0]
        return self._read(ref, reached & pc.field(some).isin(joined.column(some).unique()))

    def _view(self, name: str) -> SourceView:
        source = self.load_source(name)
        return SourceView(
            name=name,
            record_keys=source.keys,
            join=self.use_case.sources[name].join,
            lookback_days=source.lookback_days,
            event_time=source.event_time,
            tombstone=source.tombstone,
        )


def print_trace(trace: Trace, console: Console) -> None:
    """Print a trace for a person, the prediction first and its raw lines last."""
    snapshot = ", ".join(f"{name} {value}" for name, value in trace.model.snapshot.items() if name != "choices")
    model = trace.model
    entries = {
        "prediction": f"{trace.row_id} of {trace.use_case}: {trace.score:.6g}, decision {trace.decision}",
        "decided": f"{trace.decision_time.isoformat()}, night {trace.scores.night}",
        "scores": _describe(trace.scores),
        "model": f"version {model.version}, {model.recipe.get('family')}, sha256 {model.digest}",
        "champion": f"since {model.champion_since}: {model.champion_why}",
        "training snapshot": snapshot,
        "fitted": f"as of {model.as_of.isoformat()} by {model.attempt or 'hand'}, code {model.code}",
        "features": _describe(trace.features),
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, text in entries.items():
        table.add_row(name, text)
    console.print(table)
    lines = Table(box=None, pad_edge=False)
    for heading in ("source", "record", "file", "line", "sha256", "arrived", "known"):
        lines.add_column(heading, overflow="fold")
    for one in trace.records:
        known = (str(one.arrived_at or _UNKNOWN), str(one.known_at))
        lines.add_row(one.source, one.record, one.file, str(one.line), one.checksum, *known)
    console.print(lines)


def _describe(written: Written) -> str:
    version = _UNKNOWN if written.version is None else written.version
    return f"{written.table}, Delta version {version}, by {written.attempt or 'hand'}, code {written.code}"
