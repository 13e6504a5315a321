"""Set-up skips what is done, does again what was interrupted, and says what a person must do."""

from pathlib import Path

import pytest

from nightloop.setup import horovod, step, system
from nightloop.setup.step import SetupError, Step, run_steps


@pytest.fixture(autouse=True)
def stamps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "STAMPS", tmp_path / "stamps")


def count_work(state: list[str], runs: list[str]) -> Step:
    def work() -> str:
        runs.append(state[0])
        return "done"

    return Step("a step", lambda: state[0], work)


def test_step_runs_once_for_one_state() -> None:
    state, runs = ["one"], []  # type: ignore[var-annotated]
    for current in ("one", "one", "two", "two"):
        state[0] = current
        run_steps([count_work(state, runs)])
    assert runs == ["one", "two"]


def test_interrupted_step_is_done_again() -> None:
    def fail() -> str:
        raise SetupError("no network")

    with pytest.raises(SetupError):
        run_steps([Step("a step", lambda: "one", fail)])
    runs: list[str] = []
    run_steps([count_work(["one"], runs)])
    assert runs == ["one"]


def test_failing_command_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"exit code 3.*\n.*what went wrong"):
        step.run_quietly(["bash", "-c", "echo what went wrong; exit 3"], tmp_path / "a.log")


def test_missing_packages_are_named_to_a_user_who_may_not_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system.os, "geteuid", lambda: 1000)
    with pytest.raises(SetupError, match="openjdk-17-jre-headless g\\+\\+"):
        system.install_packages([system.JAVA_PACKAGE, "g++"])


def test_old_java_counts_as_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_402\"' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert system.list_missing(is_building=False) == [system.JAVA_PACKAGE]


def test_horovod_source_is_raised_to_the_standard_of_torch(tmp_path: Path) -> None:
    for name in ("CMakeLists.txt", "horovod/torch/CMakeLists.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("project(x)\nset(CMAKE_CXX_STANDARD 14)\n")
    horovod.raise_standard(tmp_path)
    assert "set(CMAKE_CXX_STANDARD 20)" in (tmp_path / "horovod/torch/CMakeLists.txt").read_text()
    with pytest.raises(SetupError, match="expected one"):
        horovod.raise_standard(tmp_path)


def test_wheel_is_named_by_all_it_was_built_with() -> None:
    assert horovod.name_build().startswith(f"horovod-0.28.1-torch-{horovod.read_pin('torch')}-cp311-")
