"""A change of features: the champion's version goes on scoring, the new one is refilled, and wins from its night on."""

import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from nightloop.dataset import DatasetRef
from nightloop.folders.loading import load_source
from nightloop.loop.night.feature_versions import present_features
from nightloop.run import RunKey, format_night
from nightloop.stores.ledger.ledger import Ledger
from tests.e2e.conftest import NIGHTS, SCOPE, World
from tests.loop import Loop

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("default"),  # the jobs run in this process, and their libraries warn when imported
]

TRAINED, CHANGED, RETRAINED, AFTER, RECLEANED = NIGHTS[3:8]
USE_CASE = f"use_cases/{SCOPE}/use_case.yaml"
FEATURES = f"use_cases/{SCOPE}/features.sql"
BLIND, SEEING = "0 * trips.trip_distance AS trip_distance", "trips.trip_distance"


@pytest.fixture(scope="module")
def loop(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """A champion that cannot see how far a trip goes, because the features it was trained on do not say."""
    folders = tmp_path_factory.mktemp("versions") / "folders"
    shutil.copytree(world.folders, folders)
    edit(folders / FEATURES, "  trips.trip_distance", f"  {BLIND}")
    edit(folders / USE_CASE, "promotion:\n", "promotion:\n  refit_correlation: 0\n")  # two blind models hardly agree
    loop = Loop(world.homes / "versions", SCOPE, world.remote, (folders,), world.landing).migrate()
    loop.night(TRAINED, NIGHTS[0], reports=False)
    assert loop.retrain(TRAINED).facts["answer"] == "promote"
    return loop


@pytest.fixture(scope="module")
def ledger(loop: Loop) -> Iterator[Ledger]:
    ledger = Ledger.open(loop.settings.ledger_url)
    yield ledger
    ledger.close()


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def version_of(loop: Loop) -> str:
    return present_features(loop.use_case, lambda name: load_source(name, loop.folders)).version


def table(loop: Loop, ref: DatasetRef, night: datetime | None = None) -> Any:
    rows = loop.rows(ref)
    return rows if night is None else rows[rows["night"] == format_night(night)].reset_index(drop=True)


def features(loop: Loop, version: str, night: datetime | None = None) -> Any:
    return table(loop, DatasetRef("features", SCOPE, version), night)


def scored_by(loop: Loop, night: datetime) -> tuple[set[int], set[str], int]:
    rows = table(loop, DatasetRef("scores", SCOPE), night)
    return {*rows["model_version"]}, {*rows["feature_version"]}, len(rows)


def refill(loop: Loop, as_of: datetime) -> Any:
    return loop.run("build_features", SCOPE, "use_case", as_of, NIGHTS[0], refill="missing")


def test_the_life_of_a_feature_version(loop: Loop, ledger: Ledger) -> None:
    old = version_of(loop)
    edit(loop.folders[0] / FEATURES, BLIND, SEEING)
    new = version_of(loop)
    assert new != old

    # the champion's version goes on scoring
    for night in (CHANGED, RETRAINED):
        loop.night(night, reports=False)
        assert scored_by(loop, night) == ({1}, {old}, len(features(loop, old, night)))
        assert len(features(loop, new, night)) == len(features(loop, old, night)) > 0
    as_run, rerun = features(loop, new), table(loop, DatasetRef("scores", SCOPE), CHANGED)

    # one bulk replay fills the new version over the window, and equals what its nights computed
    shutil.rmtree(Path(loop.settings.lake, "features", SCOPE, new))
    refilled = refill(loop, RETRAINED)
    assert refilled.counts["rows"] == len(features(loop, new)) == len(features(loop, old))
    assert not [name for name in refilled.facts if name.startswith("refused")]
    for night in (CHANGED, RETRAINED):
        assert features(loop, new, night).equals(as_run[as_run["night"] == format_night(night)].reset_index(drop=True))
    unchanged = [column for column in as_run.columns if column != "trip_distance"]
    assert features(loop, new)[unchanged].equals(features(loop, old)[unchanged])
    assert refill(loop, RETRAINED).facts["skipped"] == "no night is missing"

    # the new version wins from its night on, and earlier nights stay as they were
    assert loop.retrain(RETRAINED).facts["champion"] == "2"
    assert ledger.model(SCOPE, 2).feature_version == new
    loop.night(AFTER, reports=False)
    assert scored_by(loop, AFTER) == ({2}, {new}, len(features(loop, new, AFTER)))
    assert features(loop, old, AFTER).empty
    for job in ("build_features", "score_batch"):
        loop.run(job, SCOPE, "use_case", CHANGED)
    assert table(loop, DatasetRef("scores", SCOPE), CHANGED).equals(rerun)


def test_what_cannot_be_refilled_is_listed(loop: Loop, ledger: Ledger) -> None:
    champion, folder = version_of(loop), loop.folders[0]
    edit(
        folder / "sources/trips/clean.sql", "  passenger_count,", "  passenger_count,\n  passenger_count + 1 AS seats,"
    )
    edit(folder / FEATURES, "  trips.passenger_count", "  trips.seats AS passenger_count")
    new = version_of(loop)
    loop.night(RECLEANED, reports=False)

    # tonight's features of the new version would read bookings of nights that have no seats
    assert scored_by(loop, RECLEANED) == ({2}, {champion}, len(features(loop, champion, RECLEANED)))
    reason = f"clean/trips of {format_night(RETRAINED)} and 1 more nights was cleaned otherwise (columns seats)"
    built = next(result for result in reversed(loop.results) if result.job == "build_features")
    assert built.facts[f"refused:{new}"] == f"{format_night(RECLEANED)}: {reason}"

    refused = refill(loop, RECLEANED)
    assert refused.counts[f"refused:{new}"] == len(NIGHTS[: NIGHTS.index(RECLEANED) + 1])
    checks = ledger.checks(SCOPE, RECLEANED, RECLEANED)
    assert [row.check.detail for row in checks if row.dataset.endswith(new)] == [reason]

    # cleaned again, the nights that can be computed are
    loop.run("clean_source", "trips", "source", RECLEANED, RETRAINED)
    again = refill(loop, RECLEANED)
    assert again.counts[f"refused:{new}"] == NIGHTS.index(RECLEANED)
    seats = features(loop, new)
    assert {*seats["night"]} == {format_night(RECLEANED)}
    known = features(loop, champion, RECLEANED)
    assert (seats["passenger_count"] - known["passenger_count"]).dropna().eq(1).all()
    assert seats["passenger_count"].notna().equals(known["passenger_count"].notna())


def test_a_champion_whose_columns_are_gone_says_so(loop: Loop, capfd: pytest.CaptureFixture[str]) -> None:
    run: Callable[[], Any] = lambda: loop.run("build_features", SCOPE, "use_case", RECLEANED)  # noqa: E731
    edit(loop.folders[0] / "sources/trips/clean.sql", "  trip_distance,", "  1.6 * trip_distance AS trip_distance,")
    loop.run("clean_source", "trips", "source", RECLEANED)
    capfd.readouterr()
    with pytest.raises(AssertionError, match="exit code 65"):
        run()
    said = capfd.readouterr().out
    assert "the champion reads this version" in said
    assert "columns trip_distance" in said
    assert RunKey(SCOPE, RECLEANED).night in said
