"""One simulated world, loops on it, and the home of a told demo."""

import os
import subprocess
import sys
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from nightloop.engine.session import open_session
from nightloop.folders.loading import load_use_case
from nightloop.settings import CHECKOUT
from nightloop.simulate.params import Drift, FaultParams
from nightloop.simulate.world import SimulationReport, simulate
from tests.killable import KillableServer
from tests.loop import Loop, copy_folders, copy_home

SCOPE = "taxi_duration"
NIGHTS = tuple(datetime(2025, 1, 5, 2, tzinfo=UTC) + number * timedelta(days=1) for number in range(30))
TRAINED = 7  # the night as of which the first champion is fitted; the world changes from it on
ROWS_PER_NIGHT = 260
FAULTS = FaultParams(
    unparseable=0.012,
    out_of_range=0.008,
    missing_key=0.004,
    malformed=0.004,
    duplicate=0.012,
    corrected=0.02,
    tombstone=0.02,
    late=0.03,
    late_every=3,
)


@dataclass
class World:
    """The landing zone that all loops of this folder read, what was put into it, and how to open a loop on it."""

    landing: Path
    report: SimulationReport
    folders: Path
    homes: Path
    remote: str

    def loop(self, name: str, landing: Path | None = None) -> Loop:
        loop = Loop(self.homes / name, SCOPE, self.remote, (self.folders,), landing or self.landing)
        return loop.migrate()

    def copy(self, loop: Loop, name: str) -> Loop:
        """Return a loop on a copy of another one's state."""
        copy_home(loop.home, self.homes / name)
        return Loop(self.homes / name, loop.name, loop.remote, loop.folders, loop.landing)


@pytest.fixture(scope="package")
def world(server: KillableServer, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Thirty nights of taxi trips with every fault in them; from one night on all trips take longer."""
    top = tmp_path_factory.mktemp("e2e-world")
    folders, landing = copy_folders(SCOPE, top / "folders"), top / "landing"
    document = folders / "use_cases" / SCOPE / "use_case.yaml"
    packaged = yaml.safe_load(document.read_text())
    candidates = packaged["training"]["candidates"]
    packaged["training"]["candidates"] = [one for one in candidates if one["family"] != "tabular_net"]  # slow to launch
    packaged["promotion"]["floors"] = {}  # these nights are small, and models of them poor
    document.write_text(yaml.safe_dump(packaged))
    use_case = load_use_case(SCOPE, (folders,))
    drifts = [Drift(kind="concept", at=NIGHTS[TRAINED])]
    with open_session(server.remote, str(uuid.uuid4())) as spark:
        report = simulate(use_case, spark, landing, NIGHTS, ROWS_PER_NIGHT, drifts=drifts, faults=FAULTS)
    return World(landing, report, folders, top / "homes", server.remote)


@pytest.fixture(scope="package")
def trained(world: World) -> Loop:
    """A loop after a bootstrap and a first training."""
    loop = world.loop("trained")
    loop.night(NIGHTS[TRAINED], NIGHTS[0], reports=False)
    promotion = loop.retrain(NIGHTS[TRAINED])
    assert promotion.facts["answer"] == "promote"
    return loop


@pytest.fixture(scope="package")
def scored(world: World, trained: Loop) -> Loop:
    """The trained loop and one scored night more, with its report; to be read, or copied."""
    loop = world.copy(trained, "scored")
    loop.night(NIGHTS[TRAINED + 1])
    return loop


@pytest.fixture(scope="package")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """State folder of a demo that was told to its end; `NIGHTLOOP_E2E_DEMO` names one, to save its ten minutes."""
    if told := os.environ.get("NIGHTLOOP_E2E_DEMO"):
        return Path(told)
    home = tmp_path_factory.mktemp("demo")
    environment = {**os.environ, "CI": "true", "NIGHTLOOP_HOME": str(home)}
    command = [str(Path(sys.executable).with_name("nightloop")), "demo"]
    ended = subprocess.run(command, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-4000:]
    return home
