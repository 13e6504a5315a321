"""Find every row of a subject in the lake, live or not, and what the subject is called in each folder."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from nightloop.dataset import DatasetRef
from nightloop.erasure.request import Request
from nightloop.folders.identity import raw_columns, spine_columns
from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.privacy.keyed import hash_text
from nightloop.privacy.subject import Place, Subject, match_documents, match_rows
from nightloop.privacy.traces import is_searchable
from nightloop.stores.lake.history import DataFile, LakeHistory

ORIGIN = ("_file", "_row", "night", "variant")
ROW = ("row_id", "night", "variant")
_STAGES = {"raw": "raw", "clean": "clean", "quarantine": "raw"}
_SOURCE_LAYERS, _DECISION = tuple(_STAGES), ("decision_time", "is_observed")
Key = tuple[str, ...]


@dataclass
class Found:
    """Keys of the subject's rows per table: their origin in a source's tables, `row_id` in a use case's.

    `live` holds those in newest versions, `labels` (use case, decision time, night of maturity) of observed outcomes.
    """

    subject: Subject
    keys: dict[str, set[Key]] = field(default_factory=lambda: defaultdict(set))
    live: dict[str, set[Key]] = field(default_factory=lambda: defaultdict(set))
    labels: set[tuple[str, str, str]] = field(default_factory=set)

    @property
    def size(self) -> int:
        return sum(map(len, self.keys.values())) + sum(map(len, self.subject.values.values()))

    def of_owner(self, owner: str, layers: Sequence[str]) -> set[Key]:
        """Return the keys that any table of these layers holds for one owner."""
        own = [keys for path, keys in self.keys.items() if path.split("/")[0] in layers and path.split("/")[1] == owner]
        return set().union(*own)


def link_places(sources: Mapping[str, Source], use_cases: Sequence[UseCase]) -> Iterator[tuple[Place, Place]]:
    """Yield the columns that hold one kind of identifier: by clean.sql, by spine.sql, and by the joins of use cases."""
    for source in sources.values():
        for clean, raw in raw_columns(source).items():
            yield Place("clean", source.name, clean), Place("raw", source.name, raw)
    for use_case in use_cases:
        for spine, (name, column) in spine_columns(use_case, sources).items():
            yield Place("clean", name, column), Place("spine", use_case.name, spine)
        for name, joined in use_case.sources.items():
            for column, spine in joined.join.items():
                yield Place("clean", name, column), Place("spine", use_case.name, spine)


def name_subject(
    request: Request, sources: Mapping[str, Source], use_cases: Sequence[UseCase], keys: Sequence[bytes]
) -> Subject:
    """Return the subject as the request names it, under every form in which its identifiers may be stored."""
    subject, source = Subject(list(link_places(sources, use_cases))), sources[request.source]
    for column, values in request.columns.items():
        is_hashed = column in source.pii
        hashes = {hash_text(value, key) for value in values for key in keys} if is_hashed else set()
        subject.learn(Place("raw", source.name, column), values | hashes)
    return subject


def find_rows(subject: Subject, sources: Mapping[str, Source], names: Sequence[str], lake: LakeHistory) -> Found:
    """Search every data file of the lake until nothing new turns up; `names` are the known use cases."""
    found, tables = Found(subject), lake.tables()
    size = -1
    # what a record is called in one table may lead to rows of a table that was searched before
    while size != found.size:
        size = found.size
        for ref in tables:
            if ref.layer in _SOURCE_LAYERS and ref.owner in sources:
                _search_source(found, ref, sources[ref.owner], lake)
            elif ref.owner in names:
                _search_use_case(found, ref, lake)
            else:
                _search_forsaken(found, ref, lake)
    return found


def _search_source(found: Found, ref: DatasetRef, source: Source, lake: LakeHistory) -> None:
    columns = found.subject.columns(_STAGES[ref.layer], ref.owner)
    origins = found.of_owner(ref.owner, _SOURCE_LAYERS)
    if not columns and not origins:
        return
    # a key of several columns names nobody, and a quarantined row holds its key within a document only
    record = source.keys[0] if len(source.keys) == 1 and ref.layer != "quarantine" else ""
    place = Place(_STAGES[ref.layer], ref.owner, record)
    if ref.layer == "raw" and record:
        place = Place("raw", ref.owner, raw_columns(source).get(record, record))
    for file in lake.data_files(ref):
        rows = lake.read(file, ["_file", "_row", "content", place.column, *columns])
        mask = _match_source(rows, columns, origins, file, ref.layer)
        own = rows.filter(mask)
        _keep(found, ref, file, ORIGIN, own)
        if record and place.column in own.schema.names:
            texts = pc.utf8_trim_whitespace(own.column(place.column).cast(pa.string()))
            found.subject.learn(place, filter(None, texts.to_pylist()))


def _match_source(
    rows: pa.Table, columns: Mapping[str, set[str]], origins: set[Key], file: DataFile, layer: str
) -> pa.Array:
    mask = match_rows(rows, columns)
    if layer == "quarantine":
        aside = match_documents(rows.column("content").to_pylist(), columns)
        mask = pc.or_(mask, pa.array(aside, pa.bool_()))
    return pc.or_(mask, _is_known(rows, ("_file", "_row"), origins, file))


def _search_use_case(found: Found, ref: DatasetRef, lake: LakeHistory) -> None:
    columns = found.subject.columns("spine", ref.owner)
    row_ids = found.of_owner(ref.owner, ("features", "labels", "scores"))
    if not columns and not row_ids:
        return
    for file in lake.data_files(ref):
        rows = lake.read(file, ["row_id", *_DECISION, *columns])
        own = rows.filter(match_rows(rows, {**columns, "row_id": {key[0] for key in row_ids}}))
        _keep(found, ref, file, ROW, own)
        if ref.layer == "labels" and own.num_rows:
            # training takes observed outcomes alone: from the others no model has learned
            seen = own.filter(own.column("is_observed"))
            decided = (value.isoformat() for value in seen.column("decision_time").to_pylist())
            found.labels.update((ref.owner, instant, file.night) for instant in decided)


def _search_forsaken(found: Found, ref: DatasetRef, lake: LakeHistory) -> None:
    """Search a table whose folder is gone: nobody says which columns identify, so every text counts."""
    texts = {text for text in found.subject.texts if is_searchable(text)}
    for file in lake.data_files(ref):
        rows = lake.read(file)
        columns = {field.name: texts for field in rows.schema if not pa.types.is_nested(field.type)}
        _keep(found, ref, file, ORIGIN if ref.layer in _SOURCE_LAYERS else ROW, rows.filter(match_rows(rows, columns)))


def _keep(found: Found, ref: DatasetRef, file: DataFile, names: Sequence[str], own: pa.Table) -> None:
    # the last two name the file's partition and are no columns of it
    texts = [own.column(name).cast(pa.string()).to_pylist() for name in names[:-2]]
    keys = {(*values, file.night, file.variant) for values in zip(*texts, strict=True)}
    if keys:
        found.keys[str(ref)] |= keys
        if file.is_live:
            found.live[str(ref)] |= keys


def _is_known(rows: pa.Table, names: Sequence[str], keys: set[Key], file: DataFile) -> pa.Array:
    here = {key[:-2] for key in keys if key[-2:] == (file.night, file.variant)}
    texts = [rows.column(name).cast(pa.string()).to_pylist() for name in names]
    return pa.array([values in here for values in zip(*texts, strict=True)], pa.bool_())
