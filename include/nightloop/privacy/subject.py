"""Whose rows are these: follow a subject's identifiers through linked columns, and match rows that carry them.

A subject is named by values of one source's columns. What a record of the subject is called by (a key of one column)
names the subject too, wherever that column is joined; a key of several columns, or a value that rows of others share
(a place, an hour), does not.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

Forms = Mapping[str, Callable[[str], Iterable[str]]]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One column of one folder: `stage` is `raw`, `clean` or `spine`, as the column's name may differ in each."""

    stage: str
    owner: str
    column: str


@dataclass
class Subject:
    """The identifiers of a subject by place; a value learned in one place holds in every place linked to it."""

    links: Iterable[tuple[Place, Place]]
    values: dict[Place, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._linked: dict[Place, set[Place]] = {}
        for one, other in self.links:
            merged = self._linked.get(one, {one}) | self._linked.get(other, {other})
            self._linked.update(dict.fromkeys(merged, merged))

    def learn(self, place: Place, values: Iterable[str]) -> bool:
        """Add identifiers; return whether any was new."""
        new = {value for value in values if value} - self.values.get(place, set())
        for linked in self._linked.get(place, {place}) if new else ():
            self.values.setdefault(linked, set()).update(new)
        return bool(new)

    def columns(self, stage: str, owner: str) -> dict[str, set[str]]:
        """Return the identifying columns of one folder's rows, with the values that are the subject's."""
        return {
            place.column: values
            for place, values in self.values.items()
            if (place.stage, place.owner) == (stage, owner)
        }

    def owners(self, stage: str) -> list[str]:
        """Return the folders in which the subject has a name."""
        return sorted({place.owner for place, values in self.values.items() if values and place.stage == stage})

    @property
    def texts(self) -> set[str]:
        """Every identifier, wherever it is used."""
        return set().union(*self.values.values())


def match_rows(rows: pa.Table, columns: Mapping[str, set[str]]) -> pa.Array:
    """Return which rows carry one of the values in a column named; columns that the rows lack match nothing."""
    masks = [
        pc.is_in(_texts(rows.column(name)), value_set=pa.array(sorted(values), pa.string()))
        for name, values in columns.items()
        if name in rows.schema.names and values
    ]
    found = pa.array([False] * rows.num_rows) if not masks else masks[0]
    for mask in masks[1:]:
        found = pc.or_(found, mask)
    return found


def match_documents(documents: Sequence[str | None], columns: Mapping[str, set[str]]) -> Iterator[bool]:
    """Tell of each JSON document (a quarantined row) whether an entry named carries one of the values."""
    for document in documents:
        entries = json.loads(document) if document else {}
        yield any(_normalise(entries.get(name)) in values for name, values in columns.items())


def match_record(record: Mapping[str, str | None], columns: Mapping[str, set[str]], forms: Forms) -> bool:
    """Tell whether a received record carries one of the values, as received or in a form under which it is stored."""
    for name, values in columns.items():
        text = _normalise(record.get(name))
        if text and (text in values or any(form in values for form in forms.get(name, _as_received)(text))):
            return True
    return False


def as_whole_number(text: str) -> Iterator[str]:
    """Yield a received whole number as its typed column prints it.

    >>> list(as_whole_number("+007"))
    ['7']
    """
    try:
        yield str(int(text))
    except ValueError:
        return


def _as_received(text: str) -> Iterable[str]:
    return (text,)


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_trim_whitespace(column.cast(pa.string()))


def _normalise(value: object) -> str:
    return "" if value is None else str(value).strip()
