"""A table four times as large as the memory that is allowed is read, encoded and trained on."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nightloop.settings import CHECKOUT
from nightloop.stores.ledger.ledger import migrate
from tests.unit.training.wide_lake import NIGHTS, ROWS_PER_NIGHT, write_lake

ALLOWED_BYTES = 350 * 2**20
LAUNCHER = "tests.unit.training.limited_training"


@dataclass
class Run:
    """How a process ended, what it told last, and how much memory it took of its own after its imports."""

    code: int
    told: dict[str, Any]
    peak_bytes: int


def run_within_limit(what: str, home: Path) -> Run:
    """Run until the end, or until it takes more than is allowed: then it is killed."""
    words = [LAUNCHER, what, home / "lake", f"sqlite:///{home}/ledger.db", home]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", *map(str, words)], cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"imported": True}
        base, peak = anonymous_bytes(process.pid), 0
        while process.poll() is None:
            peak = max(peak, anonymous_bytes(process.pid) - base)
            if peak > ALLOWED_BYTES:
                process.kill()
            time.sleep(0.005)
        lines = process.stdout.read().splitlines()
    return Run(process.returncode, json.loads(lines[-1]) if process.returncode == 0 else {}, peak)


def anonymous_bytes(pid: int) -> int:
    """Memory that a process holds and no file backs."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


@pytest.mark.slow
def test_a_table_larger_than_memory_trains(tmp_path: Path) -> None:
    write_lake(tmp_path / "lake")
    migrate(f"sqlite:///{tmp_path}/ledger.db")
    assert run_within_limit("hold", tmp_path).code == -signal.SIGKILL
    ended = run_within_limit("train", tmp_path)
    assert ended.code == 0, f"took {ended.peak_bytes / 2**20:.0f} MiB"
    assert ended.told["rows"] == len(NIGHTS) * ROWS_PER_NIGHT
    assert ended.told["bytes"] >= 4 * ALLOWED_BYTES
    assert ended.told["choose_losses"][-1] < 0.5, "of a variance of 1"
