"""Training on many ranks: the same curve, equal replicas, and nothing left behind however it ends."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest

from nightloop.fault import NightloopError
from nightloop.training.candidate import Candidate, fit_candidate
from nightloop.training.launch import HOSTS_VARIABLE, TrainingError, command_of_ranks, run_ranks
from nightloop.training.params import Recipe, TrainingParams
from tests.ssh_host import SshHost, serve_ssh
from tests.unit.training.conftest import make_rows, plan

pytestmark = pytest.mark.slow


def fit(work: Path, ranks: int, rows: int = 1500, **params: object) -> Candidate:
    recipe = Recipe(family="tabular_net", params={"epochs": 4, "width": 16, "members": 4, "dropout": 0.2, **params})
    training = TrainingParams(window_days=60, judging_days=10, candidates=(recipe,), ranks=ranks, budget_minutes=2)
    table = make_rows("binary", rows, half_life_days=30)
    return fit_candidate(table, plan(recipe), work, "binary", training)


def digests(work: Path) -> list[str]:
    return [json.loads(path.read_text())["digest"] for path in sorted(work.glob("rank-*.json"))]


def children() -> list[psutil.Process]:
    """Return living ranks and launchers below this process."""
    found = []
    for one in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "nightloop.training" in " ".join(one.cmdline()):
                found.append(one)
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    """The same training on one rank."""
    return fit(tmp_path_factory.mktemp("alone"), 1)


@pytest.fixture
def ssh_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    with serve_ssh(tmp_path_factory.mktemp("ssh")) as host:
        yield host


@pytest.mark.parametrize("ranks", [2, 4])
def test_many_ranks_train_as_one_does(alone: Candidate, ranks: int, tmp_path: Path) -> None:
    many = fit(tmp_path, ranks)
    assert many.facts["ranks"] == ranks
    for curve in ("curve", "final_curve"):
        np.testing.assert_allclose(alone.facts[curve], many.facts[curve], atol=1e-4)
    assert many.speed["rows_per_second"] > 0 < many.speed["step_ms"]
    replicas = digests(tmp_path)
    assert len(replicas) == ranks
    assert len(set(replicas)) == 1


def test_ranks_on_two_hosts_train_as_one_does(
    alone: Candidate, ssh_host: SshHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOSTS_VARIABLE, f"localhost:1,{ssh_host.address}:1")
    monkeypatch.setenv("PATH", f"{ssh_host.client.parent}:{os.environ['PATH']}")
    many = fit(tmp_path, 2)
    assert [command for command in ssh_host.commands if "HOROVOD_RANK=1" in command]
    np.testing.assert_allclose(alone.facts["final_curve"], many.facts["final_curve"], atol=1e-4)
    assert len(set(digests(tmp_path))) == 1
    assert not children()


@pytest.mark.parametrize(("hosts", "said"), [("gpu1", "host:slots"), ("gpu1:1", "slots for 2 ranks")])
def test_hosts_that_cannot_be_used_are_refused(
    hosts: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOSTS_VARIABLE, hosts)
    with pytest.raises(NightloopError, match=said):
        run_ranks(tmp_path, 2, 60)


def test_fewer_rows_than_ranks_train_all_the_same(tmp_path: Path) -> None:
    few, one = fit(tmp_path / "four", 4, rows=6), fit(tmp_path / "one", 1, rows=6)
    np.testing.assert_allclose(one.facts["curve"], few.facts["curve"], atol=1e-4)


def test_a_training_resumes_at_its_last_epoch(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", 1, learning_rate=0.004)
    work = tmp_path / "resumed"
    shutil.copytree(tmp_path / "whole", work)
    for name in ("outcome.json", "weights.npz", "checkpoint-whole.npz"):
        (work / name).unlink()
    started = time.monotonic()
    resumed = fit(work, 1, learning_rate=0.004)
    assert resumed.model == whole.model
    assert resumed.facts["curve"] == whole.facts["curve"]
    assert time.monotonic() - started < 60


def test_a_checkpoint_of_another_training_is_not_resumed(tmp_path: Path) -> None:
    fit(tmp_path, 1)
    other = fit(tmp_path, 1, learning_rate=0.02)
    assert other.model == fit(tmp_path / "fresh", 1, learning_rate=0.02).model


def test_a_diverging_loss_stops_every_rank_with_advice(tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as failure:
        fit(tmp_path, 2, learning_rate=1e30)
    assert str(failure.value).splitlines()[-1].startswith("FloatingPointError: the loss of epoch")
    assert not children()


def test_a_killed_rank_fails_the_training_at_once(tmp_path: Path) -> None:
    killer = subprocess.Popen([sys.executable, "-c", KILL_A_RANK, str(os.getpid()), "8"])
    started = time.monotonic()
    with pytest.raises(TrainingError, match="killed"):
        fit(tmp_path, 2, rows=20_000, epochs=400, patience=400)
    assert killer.wait() == 0
    assert time.monotonic() - started < 90
    assert not children()


@pytest.mark.timeout(1200)
def test_twenty_kills_change_nothing_of_a_training(tmp_path: Path) -> None:
    options = {"rows": 2_400, "epochs": 10, "patience": 10, "batch_rows": 64}
    started = time.monotonic()
    undisturbed = fit(tmp_path / "undisturbed", 2, **options)
    # of this machine as it is now: a kill shall fall while ranks start, choose, or train the whole
    seconds = time.monotonic() - started
    draw, kills = random.Random(11), 0
    while kills < 20:
        work = tmp_path / "killed"
        shutil.rmtree(work, ignore_errors=True)
        found = None
        while found is None:
            age = draw.uniform(0.15, 0.6) * seconds if kills < 20 else 600  # the last one may end
            killer = subprocess.Popen([sys.executable, "-c", KILL_A_RANK, str(os.getpid()), str(age)])
            try:
                found = fit(work, 2, **options)
            except TrainingError:
                kills += 1
            finally:
                killer.kill()
                killer.wait()
        np.testing.assert_allclose(found.facts["final_curve"], undisturbed.facts["final_curve"], atol=1e-6)
        assert found.model == undisturbed.model
        assert not children()


def test_a_training_over_its_time_is_stopped_whole(tmp_path: Path) -> None:
    fit(tmp_path, 1)
    spec = tmp_path / "spec.json"
    for checkpoint in tmp_path.glob("checkpoint-*"):
        checkpoint.unlink()
    spec.write_text(json.dumps({**json.loads(spec.read_text()), "max_epochs": 100_000, "patience": 100_000}))
    with pytest.raises(TrainingError, match="did not end within 12 s"):
        run_ranks(tmp_path, 2, 12)
    assert not children()


def test_a_rank_that_never_comes_ends_the_training_in_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(tmp_path, 1)
    absent = (
        "import os, sys, time; time.sleep(600 * int(os.environ['HOROVOD_RANK'])); os.execv(sys.argv[1], sys.argv[1:])"
    )

    def command(ranks: int, worker: Sequence[str], hosts: Mapping[str, int]) -> list[str]:
        return command_of_ranks(ranks, [sys.executable, "-c", absent, *worker], hosts)

    monkeypatch.setattr("nightloop.training.launch.command_of_ranks", command)
    started = time.monotonic()
    with pytest.raises(TrainingError, match="never met the others") as caught:
        run_ranks(tmp_path, 2, 600)
    assert "onnectFullMesh" in str(caught.value) or "imeout" in str(caught.value)
    assert time.monotonic() - started < 120
    assert not children()


def test_ranks_die_with_a_launcher_that_is_killed(tmp_path: Path) -> None:
    fit(tmp_path, 1)
    spec = tmp_path / "spec.json"
    for checkpoint in tmp_path.glob("checkpoint-*"):
        checkpoint.unlink()
    spec.write_text(json.dumps({**json.loads(spec.read_text()), "max_epochs": 100_000, "patience": 100_000}))
    launch = "import pathlib; from nightloop.training.launch import run_ranks; run_ranks(pathlib.Path({!r}), 2, 300)"
    command = [sys.executable, "-c", launch.format(str(tmp_path))]
    launcher = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "checkpoint-choose.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    started = psutil.Process(launcher.pid).children(recursive=True)
    assert started
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    _, alive = psutil.wait_procs(started, timeout=20)
    assert not alive


KILL_A_RANK = textwrap.dedent("""
    import sys, time, psutil
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(0.05)
        ranks = []
        for one in psutil.Process(int(sys.argv[1])).children(recursive=True):
            try:
                if "HOROVOD_RANK" in one.environ() and "nightloop.training.worker" in one.cmdline():
                    ranks.append(one)
            except psutil.Error:
                pass
        if len(ranks) == 2 and min(time.time() - one.create_time() for one in ranks) > float(sys.argv[2]):
            ranks[1].kill()
            sys.exit(0)
    sys.exit(1)
""")
