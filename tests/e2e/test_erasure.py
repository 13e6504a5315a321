"""An erasure on what the real jobs wrote: found before, gone after, and the loop goes on as if it had never been."""

import json
import subprocess
from pathlib import Path

import pytest

from nightloop.dataset import DatasetRef
from nightloop.privacy.traces import Traces, compile_traces
from nightloop.run import parse_night
from nightloop.stores.ledger.ledger import Ledger
from nightloop.stores.trace_search import search_folder
from tests.e2e.conftest import NIGHTS, SCOPE, TRAINED, World
from tests.loop import Loop

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("default"),  # the jobs run in this process, and their libraries warn when imported
]

NIGHT, NEXT = NIGHTS[TRAINED + 1 : TRAINED + 3]


@pytest.fixture(scope="module")
def loop(world: World, scored: Loop) -> Loop:
    """A copy of the loop with one scored night, and a landing zone of its own."""
    landing = world.homes / "erasure-landing"
    subprocess.run(["cp", "-a", world.landing, landing], check=True)
    copied = world.copy(scored, "erasure")
    copied.landing = landing
    return copied


def tables(loop: Loop) -> dict[str, list[str]]:
    """Return every table's rows as text."""
    version = next(path.name for path in Path(loop.settings.lake, "features", SCOPE).iterdir() if path.name != "spine")
    owned = [DatasetRef(layer, source.name) for layer in ("raw", "clean") for source in loop.sources]  # type: ignore[arg-type]
    refs = [*owned, DatasetRef("features", SCOPE, version), DatasetRef("labels", SCOPE), DatasetRef("scores", SCOPE)]
    return {str(ref): [row.to_json() for _, row in loop.rows(ref).iterrows()] for ref in refs}


def traces_in(loop: Loop, traces: Traces) -> set[str]:
    assert loop.landing is not None
    own = {hit.path.relative_to(loop.home).parts[0] for hit in search_folder(loop.home, traces)}
    return own | ({"landing"} if any(search_folder(loop.landing, traces)) else set())


def test_two_trips_are_gone_and_the_loop_goes_on(loop: Loop) -> None:
    labels, scores = loop.rows(DatasetRef("labels", SCOPE)), loop.rows(DatasetRef("scores", SCOPE))
    learned = labels[labels["is_observed"]].sort_values(["night", "trip_id"])["trip_id"].iloc[0]
    scored = scores[scores["night"] == scores["night"].max()]["trip_id"].max()
    traces, before = compile_traces([learned, scored]), tables(loop)
    assert {"lake", "landing", "warehouse.db"} <= traces_in(loop, traces)

    inbox = loop.home / "erasures"
    inbox.mkdir(mode=0o700)
    (inbox / "2025-01.csv").touch(mode=0o600)
    (inbox / "2025-01.csv").write_text(f"trip_id\n{learned}\n{scored}\n")
    result = loop.run("erase_subjects", "platform", "platform", NIGHT, request="2025-01", source="trips", why="asked")

    assert traces_in(loop, traces) == set()
    after = tables(loop)
    for path, rows in before.items():
        assert after[path] == [row for row in rows if not traces.whole.search(row.encode())], path
    certificate = json.loads(Path(result.links["certificate"]).read_text())
    ledger = Ledger.open(loop.settings.ledger_url)
    assert {model["version"] for model in certificate["models"] if "version" in model} == {
        model.version for model in ledger.models(SCOPE)
    }
    ledger.close()

    decided = parse_night(labels[labels["trip_id"] == learned]["cohort"].iloc[0])
    loop.ingest(decided)
    loop.run("build_features", SCOPE, "use_case", decided)
    again = tables(loop)
    for path in again:
        if path.startswith(("features/", "labels/", "scores/")):
            assert again[path] == after[path], path
    assert {path: len(rows) for path, rows in again.items()} == {path: len(rows) for path, rows in after.items()}
    loop.night(NEXT)
    assert traces_in(loop, traces) == set()
