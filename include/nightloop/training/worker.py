"""One rank of a training: reads `spec.json` and arrays of its work folder, rank 0 leaves the weights there.

The folder holds `spec.json`, `{fit,choose,whole}_{features,targets,weights}.npy` and bins; it receives `weights.npz`,
`outcome.json`, `margins.npy`, `choose_margins.npy`, `rank-<r>.json` and a checkpoint per stage.
"""

import json
import os
import socket
import sys
import threading
import time
import traceback
from pathlib import Path

LAUNCHER = "NIGHTLOOP_TRAINING_LAUNCHER"


def rank_error_path(work: Path, rank: str) -> Path:
    """Where a failing rank leaves its traceback."""
    return work / f"rank-{rank}.error"


def is_echo(error: BaseException) -> bool:
    """Tell whether a rank failed only because another one did; the other's traceback is the one to read."""
    return type(error).__name__ == "HorovodInternalError"


def run_worker(work: Path) -> None:
    """Train this rank's part of the model that the folder describes."""
    from nightloop.training.distributed import open_ranks
    from nightloop.training.net_training import train_stages

    train_stages(work, json.loads((work / "spec.json").read_text()), open_ranks())


def main() -> None:
    """Run one rank as a process of its own; its traceback is kept beside its output."""
    work = Path(sys.argv[1])
    _die_with_launcher()
    try:
        run_worker(work)
    except BaseException as error:  # noqa: BLE001 - whatever ends a rank must be told, and end it
        text = traceback.format_exc()
        if not is_echo(error):
            path = rank_error_path(work, os.environ.get("HOROVOD_RANK", "0"))
            # renamed when whole: this rank may be killed while it writes
            partial = path.with_suffix(".partial")
            partial.write_text(text)
            partial.rename(path)
        sys.stderr.write(text)
        sys.stderr.flush()
        # not `sys.exit`: Horovod's exit handler waits for a thread that first settles with the other ranks
        os._exit(1)


def _die_with_launcher() -> None:
    """End this process when the one that asked for the training is gone: a kill -9 of it leaves no rank behind.

    On another host nothing is seen of it; there a rank fails when those of this host are gone.
    """
    host, _, launcher = os.environ.get(LAUNCHER, "").partition("/")
    if host != socket.gethostname():
        return
    import psutil

    awaited = psutil.Process(int(launcher))

    def watch() -> None:
        # psutil compares birth times: a pid given out anew is not the launcher; killed, it may stay as a zombie
        while awaited.is_running() and awaited.status() != psutil.STATUS_ZOMBIE:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main()
