"""The work folder, in which the jobs of a retraining leave their candidates to each other."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from nightloop.fault import Fault, NightloopError
from nightloop.run import RunKey
from nightloop.training.params import Params


@dataclass(frozen=True)
class WorkCandidate:
    """What `train_candidate` leaves for the judge: the twin's artifact and what is known of it."""

    digest: str
    chosen: float
    choices: Mapping[str, float]
    baseline: tuple[float, ...]
    params: Params
    pins: Mapping[str, Any] = field(default_factory=dict)


def work_folder(work: Path, run_key: RunKey, candidate: str) -> Path:
    """Return where one candidate of a run works; it survives an attempt, so that a training can go on."""
    return work / run_key.scope / run_key.night / run_key.variant / candidate


def twin_folder(folder: Path, window: int) -> Path:
    """Return where a candidate leaves its twin of a judging window, the youngest being 0, below its own folder."""
    return folder / f"window-{window}" if window else folder


def write_candidate(folder: Path, model: bytes, candidate: WorkCandidate) -> None:
    """Leave a candidate for the judge."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model)
    # after the model: an attempt that is killed in between leaves no candidate to judge
    (folder / "model.json").write_text(json.dumps(vars(candidate), indent=1))


def read_candidate(folder: Path) -> tuple[WorkCandidate, Path]:
    """Return what a candidate left, and the path of its artifact.

    Raises:
        NightloopError: it left nothing.
    """
    path = folder / "model.json"
    if not path.exists():
        raise NightloopError(Fault(f"candidate {folder.name}", "a fitted model", "none", "run its train_candidate"))
    document = json.loads(path.read_text())
    return WorkCandidate(**{**document, "baseline": tuple(document["baseline"])}), folder / "model.onnx"


def drop_work(work: Path, before: datetime) -> int:
    """Remove the folders of runs and of killed attempts in which nothing was written since; return how many."""
    left = [*work.glob("attempt-*"), *work.glob("*/[0-9]*")]
    old = [
        folder
        for folder in left
        # of everything below: a folder's own time does not change when a file deep in it is written
        if max(path.lstat().st_mtime for path in (folder, *folder.rglob("*"))) < before.timestamp()
    ]
    for folder in old:
        shutil.rmtree(folder)
    return len(old)
