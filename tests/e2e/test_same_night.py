"""The same night run again leaves the same rows, whatever was killed, promoted or delivered in between."""

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable

from nightloop.dataset import DatasetRef
from nightloop.engine.session import open_session
from nightloop.fault import TransientError
from nightloop.run import EXIT_TRANSIENT, MAIN_VARIANT, format_night
from nightloop.stores.ledger.ledger import Ledger
from tests.e2e import slow_writer
from tests.e2e.compare import Content, assert_equal, read_night
from tests.e2e.conftest import NIGHTS, SCOPE, TRAINED, World
from tests.killable import KillableServer
from tests.loop import Loop

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("default"),  # the jobs run in this process, and their libraries warn when imported
    pytest.mark.filterwarnings("error:::(nightloop|jobs)"),
]

NIGHT, AFTER = NIGHTS[TRAINED + 2 : TRAINED + 4]
STORY = (
    ("land_source", "trips", "source", ("read …", "publish …", "publish took")),
    ("clean_source", "trips", "source", ("judge …", "publish …", "publish took")),
    ("land_source", "weather", "source", ()),
    ("clean_source", "weather", "source", ()),
    ("land_source", "trip_completions", "source", ()),
    ("clean_source", "trip_completions", "source", ()),
    ("build_features", SCOPE, "use_case", ("features …", "publish …", "publish took")),
    ("score_batch", SCOPE, "use_case", ("score …", "publish …", "publish took")),
    ("load_scores", SCOPE, "use_case", ("load …", "load took")),
    ("measure_outcomes", SCOPE, "use_case", ("labels …", "write …")),
    ("profile_partition", SCOPE, "use_case", ("profile features …", "write …")),
    ("decide_retraining", SCOPE, "use_case", ("decide …", "write …", "write took")),
    ("render_report", SCOPE, "use_case", ()),
)


@dataclass(frozen=True)
class Told:
    """A loop after two nights, what the last of them left behind, and a copy of the state before that night."""

    loop: Loop
    content: Content
    before: Loop


@pytest.fixture(scope="module")
def told(world: World, scored: Loop) -> Told:
    loop = world.copy(scored, "same_night")
    before = world.copy(loop, "before")
    loop.night(NIGHT, reports=False)
    return Told(loop, read_night(loop, NIGHT), before)


def test_the_night_compared_holds_something_in_every_place(told: Told) -> None:
    empty = [name for name, rows in told.content.items() if not rows]
    assert empty == []
    layers = {name.split()[1].partition("/")[0] for name in told.content if name.startswith("lake ")}
    assert layers == {"raw", "clean", "quarantine", "features", "labels", "scores"}


def test_run_again_plainly(told: Told) -> None:
    told.loop.night(NIGHT, reports=False)
    assert_equal(told.content, read_night(told.loop, NIGHT), "the night run again")


def test_every_job_killed_at_work_and_run_again(told: Told) -> None:
    """The night's first attempts die, phase after phase; what ends it is the attempt that nobody kills."""
    loop, killed = told.before, 0
    for job, scope, kind, phases in STORY:
        for said in phases:
            loop.kill_at(said, job, scope, kind, NIGHT)
            killed += 1
        loop.run(job, scope, kind, NIGHT)
    assert killed == 21
    assert_equal(told.content, read_night(loop, NIGHT), "a night whose jobs were killed")


def test_the_write_of_a_killed_job_is_ended_by_the_next_attempt(told: Told) -> None:
    """A client that is killed leaves its write running on the server; the next attempt must not race it."""
    loop, job = told.loop, "build_features"
    begun, ended = loop.home / "writing", loop.home / "written"
    arguments = loop.arguments(loop.home / f"{job}.result", SCOPE, "use_case", NIGHT, None, {})
    process = loop.start_command(job, ("-m", slow_writer.__name__, job, *arguments))
    _wait_for_file(begun, process)
    started = time.monotonic()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    killed, session = _last_attempt(loop, job)
    assert _commits(loop, killed) == 0
    loop.run(job, SCOPE, "use_case", NIGHT)
    with pytest.raises(TransientError, match="SESSION_CLOSED"), open_session(loop.remote, session):
        pass
    time.sleep(max(0.0, started + slow_writer.SECONDS + 5 - time.monotonic()))
    assert not ended.exists(), "the killed job's write went on to its end"
    assert _commits(loop, killed) == 0
    assert_equal(told.content, read_night(loop, NIGHT), "a night whose writer was killed")


def test_after_a_promotion_and_late_files(told: Told, world: World) -> None:
    """The night keeps its champion and its files; what came late belongs to the night it arrived in."""
    landing = world.homes / "late_landing"
    shutil.copytree(world.landing, landing)
    loop = world.copy(told.loop, "promoted")
    loop.landing = landing
    promotion = loop.retrain(NIGHT)
    assert promotion.facts["champion"] != promotion.facts["champion_before"], promotion.facts
    rows = [
        _deliver(landing / "trips", "within", NIGHT - timedelta(minutes=5)),
        _deliver(landing / "trips", "after", NIGHT + timedelta(hours=3)),
    ]
    loop.night(NIGHT, reports=False)
    assert_equal(told.content, read_night(loop, NIGHT), "a night before a promotion and late files")

    loop.night(AFTER, reports=False)
    own = world.report.of("trips", AFTER).rows
    ledger = Ledger.open(loop.settings.ledger_url)
    counted = {row.job: row.counts for row in ledger.counts("trips", AFTER, AFTER, MAIN_VARIANT)}
    ledger.close()
    assert counted["land_source"]["received"] == own + sum(rows)
    scored = loop.rows(DatasetRef("scores", SCOPE)).groupby("night")["model_version"].unique()
    versions = {night: set(found) for night, found in scored.items()}
    assert versions[format_night(NIGHT)] == {int(promotion.facts["champion_before"])}
    assert versions[format_night(AFTER)] == {int(promotion.facts["champion"])}
    assert_equal(told.content, read_night(loop, NIGHT), "a night after the next one")


@pytest.mark.parametrize(
    ("job", "said"),
    [
        pytest.param("build_features", "publish …", id="build_features"),
        pytest.param("measure_outcomes", "connect took", id="measure_outcomes"),
        pytest.param("score_batch", "connect took", id="score_batch"),
    ],
)
def test_the_spark_server_killed_under_a_job(told: Told, server: KillableServer, job: str, said: str) -> None:
    process = told.loop.start(job, SCOPE, "use_case", NIGHT)
    told.loop.wait_for(said, job, process)
    server.end()
    server.start()
    code = process.wait(300)
    assert code == EXIT_TRANSIENT, told.loop.log_of(job).read_text()[-3000:]
    told.loop.run(job, SCOPE, "use_case", NIGHT)
    assert_equal(told.content, read_night(told.loop, NIGHT), "a night whose Spark server was killed")


def _deliver(folder: Path, name: str, arrived_at: datetime) -> int:
    """Land a file of new trips of the night, derived from its own file; return its rows."""
    header, *lines = (folder / f"{format_night(NIGHT)}.csv").read_text().splitlines()
    taken = [line.replace("T", f"{name}-T", 1) for line in lines if line.startswith("T")][:10]
    late = folder / f"{name}.csv"
    late.write_text("\n".join([header, *taken]) + "\n")
    os.utime(late, (arrived_at.timestamp(),) * 2)
    return len(taken)


def _wait_for_file(path: Path, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None, f"the job ended before it was {path.name}"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _last_attempt(loop: Loop, job: str) -> tuple[int, str]:
    """Return the token that a started job said it drew, and the id of its Spark session."""
    said = loop.log_of(job).read_text()
    token = int(said.partition(", token ")[2].split()[0])
    return token, (loop.home / f"{job}.session").read_text()


def _commits(loop: Loop, token: int) -> int:
    """Return how many commits any table of the lake owes to an attempt."""
    tables = [log.parent for log in Path(loop.settings.lake).rglob("_delta_log") if "staging" not in log.parts]
    return sum(f'"token": {token}}}' in str(entry) for table in tables for entry in DeltaTable(table).history())
