"""A job's process tree ends with the job, with its task, and with nothing left behind. Real processes, real signals."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nightloop_airflow.process import GuardedProcess

PATIENCE_SECONDS = 8.0
# A job with a child in its group and a grandchild in a session of its own, as horovodrun starts its ranks.
TREE = """
import os, subprocess, sys, time
rank = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
call = f"[sys.executable, '-c', {rank!r}, sys.argv[1]], start_new_session=True"
starter = f"import subprocess, sys; subprocess.Popen({call})"
subprocess.Popen([sys.executable, "-c", rank, sys.argv[1] + "/child"])
subprocess.run([sys.executable, "-c", starter, sys.argv[1] + "/rank"], check=True)
open(sys.argv[1] + "/job", "w").write(str(os.getpid()))
if len(sys.argv) > 2:
    open(sys.argv[2], "w").write("3f1c")
while len(os.listdir(sys.argv[1])) < 3:
    time.sleep(0.01)
print("INFO up", flush=True)
"""
FOREVER = "\nwhile True: time.sleep(0.1)\n"


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "pids"
    folder.mkdir()
    yield folder
    for pid in read_pids(folder):
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)


def read_pids(folder: Path) -> list[int]:
    return [int(file.read_text()) for file in folder.iterdir() if file.read_text()]


def start(code: str, *arguments: str, tmp_path: Path, session: bool = False) -> GuardedProcess:
    recorder = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
    return GuardedProcess(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        cwd=tmp_path,
        environment=os.environ,
        grace_seconds=0.5,
        session_file=tmp_path / "result.session" if session else None,
        cleanup=(sys.executable, "-c", recorder, str(tmp_path / "interrupted")),
    )


def alive(folder: Path) -> list[int]:
    def is_running(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return [pid for pid in read_pids(folder) if is_running(pid)]


def wait_until_dead(folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while alive(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive(folder) == []
    assert len(read_pids(folder)) == 3


def test_lines_come_live_and_whole(tmp_path: Path) -> None:
    code = r"""
    import sys, time
    sys.stdout.write("half a "); sys.stdout.flush(); time.sleep(0.2)
    print("line"); print(); print("10 %\r20 %\r100 %", file=sys.stderr)
    sys.stdout.buffer.write("ü\xff".encode("latin-1") + b"\n"); print("x" * 20000, end="")
    """
    with start(code, tmp_path=tmp_path) as process:
        lines = list(process.lines())

        assert process.wait() == 0
    assert sorted(line for line in lines if not line.startswith("x")) == ["10 %", "100 %", "20 %", "half a line", "��"]
    assert "".join(line for line in lines if line.startswith("x")) == "x" * 20000


@pytest.mark.parametrize("code", [0, 1, 65, 75, 99])
def test_exit_code_is_passed_on(code: int, tmp_path: Path) -> None:
    with start(f"import sys; sys.exit({code})", tmp_path=tmp_path) as process:
        assert process.wait() == code


def test_first_line_is_read_while_the_command_runs(tmp_path: Path) -> None:
    with start("import time; print('up', flush=True); time.sleep(600)", tmp_path=tmp_path) as process:
        assert next(process.lines()) == "up"
    assert process.wait() == 143


def test_stop_ends_the_whole_tree_and_interrupts_its_session(tmp_path: Path, pids: Path) -> None:
    session = str(tmp_path / "result.session")
    with start(TREE + FOREVER, str(pids), session, tmp_path=tmp_path, session=True) as process:
        lines = process.lines()
        assert next(lines) == "INFO up"

        process.stop()

        assert "stopped the job" in "\n".join(lines)
        assert process.wait() == 143
    wait_until_dead(pids)
    assert (tmp_path / "interrupted").read_text() == "3f1c"


def test_a_job_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\nwhile True: time.sleep(1)"
    with start(code, tmp_path=tmp_path) as process:
        assert next(process.lines()) == "up"
        begun = time.monotonic()

    assert time.monotonic() - begun < PATIENCE_SECONDS


def test_a_killed_job_takes_its_tree_along_and_its_session_is_interrupted(tmp_path: Path, pids: Path) -> None:
    session = str(tmp_path / "result.session")
    with start(TREE + FOREVER, str(pids), session, tmp_path=tmp_path, session=True) as process:
        assert next(process.lines()) == "INFO up"

        os.kill(int((pids / "job").read_text()), signal.SIGKILL)

        assert process.wait() == 137
    wait_until_dead(pids)
    assert (tmp_path / "interrupted").read_text() == "3f1c"


def test_a_job_that_ends_well_leaves_no_process_and_is_not_interrupted(tmp_path: Path, pids: Path) -> None:
    session = str(tmp_path / "result.session")
    with start(TREE, str(pids), session, tmp_path=tmp_path, session=True) as process:
        assert list(process.lines()) == ["INFO up"]
        assert process.wait() == 0
    wait_until_dead(pids)
    assert not (tmp_path / "interrupted").exists()


@pytest.mark.parametrize("victim", ["task", "guard"])
def test_the_tree_dies_with_the_process_above_it(victim: str, tmp_path: Path, pids: Path) -> None:
    task = f"""
    import os, sys
    from pathlib import Path
    from nightloop_airflow.process import GuardedProcess
    process = GuardedProcess([sys.executable, "-c", {TREE + FOREVER!r}, {str(pids)!r}, {str(tmp_path / "r.session")!r}],
        cwd=Path("."), environment=os.environ, grace_seconds=0.5, session_file=Path({str(tmp_path / "r.session")!r}),
        cleanup=(sys.executable, "-c", "import sys; open(sys.argv[1], 'w').write(sys.argv[2])",
                 {str(tmp_path / "interrupted")!r}))
    print(process.pid, flush=True)
    for line in process.lines():
        print(line, flush=True)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(task)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        guard = int(parent.stdout.readline())
        assert parent.stdout.readline() == "INFO up\n"

        if victim == "task":
            parent.kill()
            wait_until_dead(pids)
            assert wait_for(tmp_path / "interrupted") == "3f1c"
        else:
            os.kill(guard, signal.SIGKILL)
            job = int((pids / "job").read_text())
            psutil.wait_procs([psutil.Process(job)] if psutil.pid_exists(job) else [], timeout=PATIENCE_SECONDS)
            assert job not in alive(pids)
            parent.kill()


def wait_for(file: Path) -> str:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (file.exists() and file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return file.read_text()
