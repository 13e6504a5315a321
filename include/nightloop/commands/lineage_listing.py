"""`nightloop lineage`: the columns of the sources that each column of a feature table is made from."""

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from rich.console import Console
from rich.table import Table

from nightloop.fault import Fault, NightloopError
from nightloop.folders.column_lineage import column_lineage
from nightloop.folders.contracts import assert_features_sql
from nightloop.folders.loading import load_source, load_use_case

_NONE = "—"


def list_lineage(name: str, column: str | None, folders: Sequence[Path]) -> dict[str, tuple[str, ...]]:
    """Return the lineage of one column of a use case's feature table, or of all.

    Raises:
        NightloopError: there is no such use case or column, or its SQL is wrong.
    """
    use_case = load_use_case(name, folders)
    sources = {source: load_source(source, folders) for source in use_case.sources}
    assert_features_sql(use_case, sources)
    found = column_lineage(use_case, sources)
    if column is None:
        return found
    if column not in found:
        close = get_close_matches(column, sorted(found), 1)
        remedy = f"did you mean `{close[0]}`?" if close else "correct its name"
        raise NightloopError(Fault(f"column of {name}", f"one of {', '.join(sorted(found))}", column, remedy))
    return {column: found[column]}


def print_lineage(found: Mapping[str, tuple[str, ...]], console: Console, *, as_json: bool) -> None:
    if as_json:
        console.print_json(json.dumps(found))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("column")
    table.add_column("made from", overflow="fold")
    for column, origins in found.items():
        table.add_row(column, ", ".join(origins) or _NONE)
    console.print(table)
