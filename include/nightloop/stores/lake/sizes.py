"""What every table of the lake holds, and what lies in its folder beside that; read without Spark."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from html import escape

import pyarrow as pa
import pyarrow.compute as pc

from nightloop.stores.lake.files import LakeFiles

_STYLE = "font-family:sans-serif;margin:1.5em;line-height:1.4"
_LOG = "_delta_log/"


@dataclass(frozen=True, slots=True)
class TableSize:
    """One table: partitions, files and bytes of its newest version; files and bytes in its folder, logs apart."""

    table: str
    partitions: int
    files: int
    bytes: int
    stored_files: int
    stored_bytes: int
    log_files: int


def measure_lake(lake: LakeFiles) -> list[TableSize]:
    """Measure every table, by path."""
    refs = lake.tables()
    below: dict[str, list[tuple[str, int]]] = defaultdict(list)
    names = {str(ref) for ref in refs}
    for path, size in lake.list_files():
        parts = path.split("/")
        table = next((name for end in (3, 2) if (name := "/".join(parts[:end])) in names), None)
        if table is not None:
            below[table].append((path.removeprefix(f"{table}/"), size))
    sizes = []
    for ref in refs:
        live = pa.table(lake.table(ref).get_add_actions(flatten=True))
        stored = [size for path, size in below[str(ref)] if not path.startswith(_LOG)]
        sizes.append(
            TableSize(
                table=str(ref),
                partitions=len(lake.table(ref).partitions()),
                files=live.num_rows,
                bytes=int(pc.sum(live.column("size_bytes")).as_py() or 0),
                stored_files=len(stored),
                stored_bytes=sum(stored),
                log_files=len(below[str(ref)]) - len(stored),
            )
        )
    return sizes


def write_json(sizes: Sequence[TableSize]) -> str:
    """Return the sizes as a JSON list."""
    return json.dumps([asdict(size) for size in sizes], indent=1)


def draw_page(sizes: Sequence[TableSize], title: str) -> str:
    """Return the sizes as an HTML page of one table."""
    headings = "".join(f"<th>{entry.name.replace('_', ' ')}</th>" for entry in fields(TableSize))
    rows = "\n".join(
        f"<tr>{''.join(f'<td>{escape(str(value))}</td>' for value in asdict(size).values())}</tr>" for size in sizes
    )
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title></head>'
        f'<body style="{_STYLE}"><h1>{escape(title)}</h1><table cellpadding="6"><tr>{headings}</tr>\n{rows}</table>'
        "</body></html>"
    )
