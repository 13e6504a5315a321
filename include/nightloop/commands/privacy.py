"""The commands about personal data: its keys, and the search for a person's traces."""

from collections.abc import Sequence
from pathlib import Path

import typer

from nightloop.settings import Settings


def print_keys(settings: Settings) -> None:
    """Print every known key by its id, the nights hashed under each, and which joins they part."""
    from nightloop.folders.loading import load_sources, load_use_cases
    from nightloop.loop.night.rotation import count_nights, list_joins
    from nightloop.stores.keys import load_key_ring
    from nightloop.stores.ledger.ledger import Ledger

    ring, ledger = load_key_ring(settings.home), Ledger.open(settings.ledger_url)
    sources = {source.name: source for source in load_sources(settings.folders)}
    nights = {name: count_nights(ledger, name) for name, source in sources.items() if source.pii}
    unknown = {key for counted in nights.values() for key in counted} - ring.by_id.keys()
    for key in [*ring.by_id, *sorted(unknown)]:
        held = ", ".join(f"{name} {counted[key]}" for name, counted in nights.items() if counted[key])
        state = "current" if key == next(iter(ring.by_id)) else "lost" if key in unknown else "retired"
        typer.echo(f"{key}  {state:8}{f'nights: {held}' if held else 'no night'}")
    for use_case in load_use_cases(settings.folders):
        for join in list_joins(use_case, sources, {name: nights.get(name, {}) for name in sources}):
            state = "survives" if join.survives else f"parted by {len(join.keys)} keys"
            typer.echo(f"{join}  {state}")


def print_traces(settings: Settings, request: Path, under: Sequence[Path] | None) -> int:
    """Print every file below the folders, or of the whole state, that holds an identifier of a file; return how many.

    Raises:
        NightloopError: the file is missing, not private, or holds identifiers that are too short.
    """
    from nightloop.erasure.erase import list_state
    from nightloop.erasure.request import read_identifiers
    from nightloop.privacy.keyed import hash_text
    from nightloop.privacy.traces import compile_traces
    from nightloop.stores.keys import load_key_ring
    from nightloop.stores.trace_search import search_folder

    values, keys = read_identifiers(request), load_key_ring(settings.home).by_id.values()
    traces = compile_traces([*values, *(hash_text(value, key) for value in values for key in keys)])
    hits = 0
    for top in under or list_state(settings):
        for hit in search_folder(top, traces, but=[request.resolve()]):
            typer.echo(f"{hit.path}: {hit.where}")
            hits += 1
    typer.echo(f"{hits} files hold a trace" if hits else "no trace")
    return hits
