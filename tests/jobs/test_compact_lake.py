"""`compact_lake`: what nobody needs goes, what is needed stays, and nobody computes on what went."""

import json
import os
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from jobs import compact_lake, load_scores
from nightloop.folders.loading import load_source, load_use_case
from nightloop.loop.night.asof_inputs import load_sources, version_features
from nightloop.run import EXIT_INPUT, EXIT_OK, JobResult, Replay, format_night
from nightloop.settings import CHECKOUT
from nightloop.stores.ledger import ledger
from nightloop.stores.warehouse import warehouse
from tests.killable import KillableServer

pytestmark = pytest.mark.slow

SCOPE = "taxi_duration"
LAST = datetime(2025, 6, 1, 2, tzinfo=UTC)
NIGHTS = [LAST - timedelta(days=back) for back in range(44, -1, -1)]
KEPT_DAYS = 30
Compact = Callable[[], JobResult]


@pytest.fixture
def home(tmp_path: Path, server: KillableServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty-five nights of taxi trips, a feature version that was only tried, and a retention of thirty days."""
    for kind in ("sources", "use_cases"):
        shutil.copytree(CHECKOUT / "include" / kind, tmp_path / "folders" / kind)
    document = tmp_path / "folders" / "use_cases" / SCOPE / "use_case.yaml"
    document.write_text(document.read_text().replace("retention_days: 730", f"retention_days: {KEPT_DAYS}"))
    monkeypatch.setenv("NIGHTLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("NIGHTLOOP_FOLDERS", str(tmp_path / "folders"))
    monkeypatch.setenv("SPARK_REMOTE", server.remote)
    ledger.migrate(f"sqlite:///{tmp_path}/ledger.db")
    warehouse.migrate(f"sqlite:///{tmp_path}/warehouse.db")
    for table in (f"scores/{SCOPE}", f"features/{SCOPE}/{present_version(tmp_path)}", f"features/{SCOPE}/tried"):
        write_nights(tmp_path / "lake" / table)
    age_commit(tmp_path / "lake" / "features" / SCOPE / "tried")
    records = ledger.Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    replay = Replay(SCOPE, tuple(NIGHTS))
    records.close_run(replay, records.draw_token(replay, "decide_retraining"))
    records.close()
    return tmp_path


def present_version(home: Path) -> str:
    folders = (home / "folders",)
    use_case = load_use_case(SCOPE, folders)
    return version_features(use_case, load_sources(use_case, lambda name: load_source(name, folders)))


def write_nights(table: Path) -> None:
    nights = [format_night(night) for night in NIGHTS]
    rows = pa.table({"row_id": nights, "night": nights, "variant": ["main"] * len(nights)})
    write_deltalake(table, rows, partition_by=["night", "variant"])


def age_commit(table: Path) -> None:
    """Let the only commit of a table have been made a month ago."""
    entry = table / "_delta_log" / f"{0:020}.json"
    month_ago = int((datetime.now(UTC) - timedelta(days=30)).timestamp() * 1000)
    entry.write_text(re.sub(r'("commitInfo":\{"timestamp":)\d+', rf"\g<1>{month_ago}", entry.read_text()))


@pytest.fixture
def compact(home: Path) -> Compact:
    def run() -> JobResult:
        result = home / "result.json"
        as_of = ["--as-of", (LAST + timedelta(hours=10)).isoformat(), "--result", str(result)]
        assert compact_lake.main(["--scope", "platform", "--kind", "platform", *as_of]) == EXIT_OK
        return JobResult.read(result)

    return run


def nights_of(home: Path, table: str) -> list[str]:
    return sorted(partition["night"] for partition in DeltaTable(home / "lake" / table).partitions())


def test_expired_nights_and_unneeded_versions_go_and_the_report_says_what_stays(home: Path, compact: Compact) -> None:
    result = compact()
    kept = [format_night(night) for night in NIGHTS[-KEPT_DAYS - 1 :]]
    present = f"features/{SCOPE}/{present_version(home)}"
    assert [nights_of(home, table) for table in (f"scores/{SCOPE}", present)] == [kept, kept]
    assert not (home / "lake" / "features" / SCOPE / "tried").exists()
    expired = 2 * (len(NIGHTS) - len(kept))
    assert (result.counts["nights_dropped"], result.counts["versions_dropped"]) == (expired, 1)
    assert result.counts[f"files:scores/{SCOPE}"] == len(kept)
    page = Path(result.links["report"])
    sizes = {size["table"]: size for size in json.loads(page.with_name("lake.json").read_text())}
    assert sizes.keys() == {f"scores/{SCOPE}", present}
    assert str(sizes[present]["stored_bytes"]) in page.read_text()

    again = compact()
    assert (again.counts["nights_dropped"], again.counts["versions_dropped"]) == (0, 0)


def test_a_dropped_night_is_not_computed_again_and_a_kept_one_is(
    home: Path, compact: Compact, capfd: pytest.CaptureFixture[str]
) -> None:
    compact()
    dropped, kept = (["--as-of", night.isoformat()] for night in (NIGHTS[0], NIGHTS[-KEPT_DAYS - 1]))
    assert load_scores.main(["--scope", SCOPE, "--kind", "use_case", *dropped]) == EXIT_INPUT
    assert "dropped by its retention" in capfd.readouterr().out
    load_scores.main(["--scope", SCOPE, "--kind", "use_case", *kept])
    assert "dropped by its retention" not in capfd.readouterr().out


def test_what_trainings_left_at_work_goes_after_a_week(home: Path, compact: Compact) -> None:
    old, new, killed = (
        home / "work" / name for name in (f"{SCOPE}/20250401T0200Z", f"{SCOPE}/20250530T0200Z", "attempt-1")
    )
    for folder in (old, new, killed):
        (folder / "main" / "linear").mkdir(parents=True)
        (folder / "main" / "linear" / "model.onnx").write_bytes(b"weights")
    for path in (old, *old.rglob("*"), killed, *killed.rglob("*")):
        os.utime(path, (1.0, 1.0))
    assert compact().counts["work_folders"] == 2
    assert [old.exists(), new.exists(), killed.exists()] == [False, True, False]
    assert compact().counts["work_folders"] == 0


def test_while_a_folder_has_faults_nothing_is_dropped(home: Path, compact: Compact) -> None:
    (home / "folders" / "sources" / "trips" / "clean.sql").unlink()
    result = compact()
    assert "clean.sql" in result.facts["nothing_dropped"]
    assert nights_of(home, f"features/{SCOPE}/tried") == [format_night(night) for night in NIGHTS]
    assert result.counts["vacuumed"] == 3
