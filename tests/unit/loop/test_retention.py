"""What the lake must keep: retention counts back from closed nights and never takes what something still reads."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nightloop.dataset import DatasetRef
from nightloop.fault import NightloopError
from nightloop.folders.loading import load_source, load_use_case
from nightloop.folders.source import Source
from nightloop.folders.use_case import UseCase
from nightloop.loop.night.asof_inputs import version_features
from nightloop.loop.retention import (
    RECORDS,
    assert_nights_kept,
    assert_records_kept,
    list_unneeded,
    plan_expiries,
)
from nightloop.run import Replay, RunKey
from nightloop.settings import CHECKOUT
from nightloop.stores.ledger.ledger import Ledger, migrate
from nightloop.stores.ledger.rows import ModelRow
from nightloop.verdict import Verdict

FOLDERS = (CHECKOUT / "include",)
NAME = "taxi_duration"
LAST = datetime(2026, 6, 1, 2, tzinfo=UTC)
RAW, CLEAN, SCORES = DatasetRef("raw", "trips"), DatasetRef("clean", "trips"), DatasetRef("scores", NAME)
TAXI_REACH, TRIPS_REACH = 30, 64  # 28 + 1 days of windows, 1 of horizon; 2 of lookback and 32 of slack beside them


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    migrate(f"sqlite:///{tmp_path}/ledger.db")
    opened = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    yield opened
    opened.close()


def close(ledger: Ledger, scope: str, night: datetime) -> int:
    replay = Replay(scope, (night,))
    token = ledger.draw_token(replay, "decide_retraining")
    ledger.close_run(replay, token)
    return token


def folders(days: int | None, raw_days: int | None = None, kept: int | None = 400) -> tuple[UseCase, Source]:
    """Return the taxi use case and its trips with these retentions."""
    use_case, source = load_use_case(NAME, FOLDERS), load_source("trips", FOLDERS)
    changed = {"retention_days": days, "raw_retention_days": raw_days}
    return use_case.model_copy(update={"retention_days": kept}), source.model_copy(update=changed)


def cuts(ledger: Ledger, use_case: UseCase, source: Source) -> dict[str, float]:
    """Return how many days before the last night each table's expired nights end."""
    tables = (RAW, CLEAN, SCORES, DatasetRef("scores", "nobodys"))
    found = plan_expiries(tables, {NAME: use_case}, {"trips": source}, ledger)
    return {str(expiry.ref): (LAST - expiry.before) / timedelta(days=1) for expiry in found}


def test_each_table_is_cut_by_its_own_retention_and_no_retention_keeps_all(ledger: Ledger) -> None:
    for scope in (NAME, "trips"):
        close(ledger, scope, LAST)
    assert cuts(ledger, *folders(365, 900)) == {"raw/trips": 900, "clean/trips": 365, f"scores/{NAME}": 400}
    assert cuts(ledger, *folders(None, kept=None)) == {}


@pytest.mark.parametrize(
    ("behind_days", "expected"),
    [
        pytest.param(0, {"clean/trips": TRIPS_REACH, f"scores/{NAME}": TAXI_REACH}, id="its window is kept"),
        pytest.param(90, {"clean/trips": 154, f"scores/{NAME}": 120}, id="and that of a use case that lags behind"),
    ],
)
def test_an_open_training_window_and_its_lookback_outlive_the_retention(
    ledger: Ledger, behind_days: int, expected: dict[str, float]
) -> None:
    close(ledger, "trips", LAST)
    close(ledger, NAME, LAST - timedelta(days=behind_days))
    assert cuts(ledger, *folders(10, kept=10)) == expected


def test_records_of_a_use_case_that_never_ran_or_looks_back_for_ever_are_kept(ledger: Ledger) -> None:
    close(ledger, "trips", LAST)
    assert cuts(ledger, *folders(365)) == {}
    close(ledger, NAME, LAST)
    use_case, source = folders(365)
    unbounded = source.model_copy(update={"lookback_days": "unbounded"})
    assert cuts(ledger, use_case, unbounded) == {f"scores/{NAME}": 400}


def test_an_open_request_holds_the_window_it_asked_for(ledger: Ledger) -> None:
    asked = LAST - timedelta(days=20)
    token = close(ledger, NAME, asked)
    ledger.write_verdict(RunKey(NAME, asked), token, Verdict(NAME, "retrain", "matured performance fell"))
    close(ledger, NAME, LAST)
    assert cuts(ledger, *folders(None, kept=10)) == {f"scores/{NAME}": TAXI_REACH + 20}
    ledger.answer_request(NAME, asked, "test", "keep")
    assert cuts(ledger, *folders(None, kept=10)) == {f"scores/{NAME}": TAXI_REACH}


def test_versions_of_no_model_and_no_folder_are_unneeded(ledger: Ledger) -> None:
    use_case = load_use_case(NAME, FOLDERS)
    sources = {name: load_source(name, FOLDERS) for name in use_case.sources}
    model = ModelRow(NAME, 0, "d1", "uri", {}, "pinned", LAST)
    ledger.register_model(model)
    ledger.register_model(replace(model, digest="d2", feature_version="pinned too"))
    present = version_features(use_case, sources)
    tables = [DatasetRef("features", NAME, version) for version in (present, "pinned", "pinned too", "tried")]
    others = [DatasetRef("features", "nobodys", "v1"), SCORES]
    assert list_unneeded([*tables, *others], {NAME: use_case}, sources, ledger) == tables[-1:]
    assert list_unneeded(tables, {NAME: use_case}, {}, ledger) == []


def test_a_run_that_reaches_behind_what_was_dropped_is_refused(ledger: Ledger) -> None:
    _, source = folders(365)
    ledger.record_expiry(CLEAN, LAST, "retention of 365 days", LAST)
    with pytest.raises(NightloopError, match="clean of trips: expected nights from 2026-06-01"):
        assert_nights_kept(ledger, "trips", RECORDS, LAST - timedelta(days=1))
    with pytest.raises(NightloopError, match="dropped by its retention"):
        assert_records_kept(ledger, {"trips": source}, [LAST + timedelta(days=1)])
    assert_records_kept(ledger, {"trips": source}, [LAST + timedelta(days=2)])
    assert_nights_kept(ledger, "trips", ("raw",), LAST - timedelta(days=1))


def test_the_windows_of_a_use_case_add_up() -> None:
    assert load_use_case(NAME, FOLDERS).training_reach_days == TAXI_REACH
    loans = load_use_case("loan_default", FOLDERS)
    months = loans.label.horizon.count
    windows = loans.training.window_days + loans.training.judging_days
    assert loans.training_reach_days == windows + 31 * months + loans.label.settlement_days
