"""One mechanism: a history replayed at once equals its nights one by one, and no night knows what came later."""

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightloop.engine.session import open_session
from nightloop.folders.loading import load_use_case
from nightloop.folders.schedule import ticks
from nightloop.loop.night.drift_inputs import read_verdicts
from nightloop.run import MAIN_VARIANT, format_night
from nightloop.settings import CHECKOUT
from nightloop.simulate.world import SimulationReport, simulate
from nightloop.stores.ledger.ledger import Ledger
from tests.e2e.compare import assert_equal, read_night
from tests.e2e.conftest import FAULTS, NIGHTS, ROWS_PER_NIGHT, SCOPE, TRAINED, World
from tests.loop import Loop

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("default"),  # the jobs run in this process, and their libraries warn when imported
    pytest.mark.filterwarnings("error:::(nightloop|jobs)"),
]

REPLAYED = NIGHTS[: int(os.environ.get("NIGHTLOOP_E2E_NIGHTS", len(NIGHTS)))]
DECIDED = NIGHTS[TRAINED + 1]  # later nights are scored
CUT = REPLAYED[-len(REPLAYED) // 5]
LOANS = "loan_default"
LOAN_NIGHTS = ticks("0 2 1 * *", datetime(2021, 2, 1, tzinfo=UTC), datetime(2021, 4, 2, tzinfo=UTC))


def enthrone(loop: Loop, trained: Loop) -> Loop:
    """Give a fresh loop the champion that another one trained, for the nights after `DECIDED`."""
    there, here = Ledger.open(trained.settings.ledger_url), Ledger.open(loop.settings.ledger_url)
    model = there.champion(SCOPE, NIGHTS[TRAINED + 1])
    assert model is not None
    version = here.register_model(model)
    here.change_champion(SCOPE, version, DECIDED, "test", "trained elsewhere")
    there.close()
    here.close()
    return loop


@pytest.fixture(scope="module")
def bootstrap(world: World, trained: Loop) -> Loop:
    """All nights in one replay."""
    loop = enthrone(world.loop("bootstrap"), trained)
    loop.night(REPLAYED[-1], REPLAYED[0], reports=False)
    return loop


@pytest.fixture(scope="module")
def night_by_night(world: World, trained: Loop) -> Loop:
    """The same nights, one after the other; what they ask for is answered, as in the replay, by the same champion."""
    loop = enthrone(world.loop("night_by_night"), trained)
    ledger = Ledger.open(loop.settings.ledger_url)
    for night in REPLAYED:
        loop.night(night, reports=False)
        for request in ledger.open_requests(SCOPE):
            ledger.answer_request(SCOPE, request.as_of, "test", "keep")
    ledger.close()
    return loop


def test_a_bootstrap_equals_its_nights_one_by_one(bootstrap: Loop, night_by_night: Loop) -> None:
    for night in REPLAYED:
        assert_equal(read_night(night_by_night, night), read_night(bootstrap, night), f"night {night:%F} in a replay")


def test_the_replay_compared_is_eventful(night_by_night: Loop) -> None:
    last = read_night(night_by_night, REPLAYED[-1])
    assert [name for name, rows in last.items() if not rows] == []
    ledger = Ledger.open(night_by_night.settings.ledger_url)
    answers = {row.answer for row in read_verdicts(ledger, SCOPE, MAIN_VARIANT).values()}
    ledger.close()
    assert len(answers) > 1, answers


def test_what_came_after_a_night_changes_nothing_up_to_it(world: World, trained: Loop, bootstrap: Loop) -> None:
    landing = world.homes / "cut_landing"
    shutil.copytree(world.landing, landing)
    later = [path for path in landing.rglob("*.csv") if path.stat().st_mtime > CUT.timestamp()]
    for path in later:
        path.unlink()
    assert later
    loop = enthrone(world.loop("cut", landing), trained)
    loop.night(CUT, REPLAYED[0], reports=False)
    for night in REPLAYED:
        if night <= CUT:
            assert_equal(read_night(loop, night), read_night(bootstrap, night), f"night {night:%F}, its future known")


@pytest.mark.parametrize("night", [REPLAYED[0], CUT, REPLAYED[-1]], ids="{:%F}".format)
def test_features_of_a_bootstrap_are_what_their_past_gives(bootstrap: Loop, night: datetime) -> None:
    proof = bootstrap.run("prove_asof", SCOPE, "use_case", REPLAYED[-1], night=night.isoformat())
    assert proof.facts["proved"] == format_night(night)
    assert proof.counts["rows"] > ROWS_PER_NIGHT // 2


@pytest.mark.parametrize("name", ["bootstrap", "night_by_night"])
def test_every_row_received_is_accounted_for(name: str, world: World, request: pytest.FixtureRequest) -> None:
    found = list(reconcile(request.getfixturevalue(name), world.report, REPLAYED))
    assert len(found) == 3 * len(REPLAYED)
    assert sum(counts["quarantined"] for counts in found) > len(REPLAYED)


def test_every_row_of_the_loans_is_accounted_for(world: World, tmp_path: Path) -> None:
    use_case = load_use_case(LOANS, (CHECKOUT / "include",))
    with open_session(world.remote, str(uuid.uuid4())) as spark:
        report = simulate(use_case, spark, tmp_path / "landing", LOAN_NIGHTS, 500, faults=FAULTS)
    loop = Loop(tmp_path, LOANS, world.remote).migrate()
    loop.ingest(LOAN_NIGHTS[-1], LOAN_NIGHTS[0])
    assert sum(counts["quarantined"] for counts in reconcile(loop, report, LOAN_NIGHTS)) > len(LOAN_NIGHTS)


def reconcile(loop: Loop, report: SimulationReport, nights: Sequence[datetime]) -> Iterator[Mapping[str, int]]:
    """Hold each source's counts of each night against each other and against what was simulated."""
    ledger = Ledger.open(loop.settings.ledger_url)
    for source in loop.sources:
        for night in nights:
            sent = report.of(source.name, night)
            rows = {row.job: row.counts for row in ledger.counts(source.name, night, night, MAIN_VARIANT)}
            counts = rows["clean_source"]
            where = f"{source.name} in the night {night:%F}: {counts}, sent {sent}"
            kept = sum(counts[name] for name in ("good", "quarantined", "duplicate", "superseded"))
            assert rows["land_source"]["received"] == counts["received"] == sent.rows == kept, where
            assert counts["quarantined"] == sent.quarantined, where
            assert counts["duplicate"] == sent.duplicates, where
            yield counts
    ledger.close()
