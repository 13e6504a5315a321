"""Horovod, and nothing else of the library imports it: ranks that share batches, sum figures and average gradients.

Run as a module it is `horovodrun` itself, less two habits: it does not import every framework to see whether Gloo was
built (3 s), and where all ranks run on this host its rendezvous server listens on loopback only.
"""

import os
import sys
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

# Horovod's own thread asks its peers this often whether a tensor is ready: at 1 ms, its default, that takes a tenth of
# a CPU from the training, and longer waits delay every step (benchmarks/training.py)
_CPU_CYCLE_MS = "3.5"


class Ranks(Protocol):
    """The processes that train one model together; the same code runs on one rank and on many."""

    rank: int
    size: int
    local_rank: int

    def prepare(self, optimizer: Any, model: Any) -> Any:
        """Return an optimizer that applies the gradients averaged over all ranks."""

    def total(self, value: Any) -> Any:
        """Return the sum of a tensor over all ranks, the same bits on each."""

    def broadcast(self, tensors: Iterable[Any]) -> None:
        """Overwrite tensors with those of rank 0."""


class OneRank:
    """The ranks of a training that runs in this process alone."""

    rank = 0
    size = 1
    local_rank = 0

    def prepare(self, optimizer: Any, model: Any) -> Any:  # noqa: ARG002 - one rank needs no gradient of others
        return optimizer

    def total(self, value: Any) -> Any:
        return value

    def broadcast(self, tensors: Iterable[Any]) -> None:
        pass


class HorovodRanks:
    """The ranks that `horovodrun` started."""

    def __init__(self) -> None:
        import horovod.torch as hvd
        import torch

        if not torch.cuda.is_available():
            os.environ.setdefault("HOROVOD_CYCLE_TIME", _CPU_CYCLE_MS)
        hvd.init()
        self._hvd = hvd
        self.rank: int = hvd.rank()
        self.size: int = hvd.size()
        self.local_rank: int = hvd.local_rank()

    def prepare(self, optimizer: Any, model: Any) -> Any:
        # in one group, so in one message: 75 to 77 thousand samples a second on two CPU ranks, without 45 to 52
        return self._hvd.DistributedOptimizer(
            optimizer, named_parameters=model.named_parameters(), op=self._hvd.Average, num_groups=1
        )

    def total(self, value: Any) -> Any:
        # ranks stop early by such figures: at a bit of difference one would stop and the others wait for it
        return self._hvd.broadcast(self._hvd.allreduce(value, op=self._hvd.Sum), root_rank=0)

    def broadcast(self, tensors: Iterable[Any]) -> None:
        for tensor in tensors:
            self._hvd.broadcast_(tensor, root_rank=0)


def open_ranks() -> Ranks:
    """Join the ranks that started this process, or be the only one."""
    return HorovodRanks() if "HOROVOD_SIZE" in os.environ else OneRank()


def share(ranks: Ranks, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return this rank's part of a global batch; together the parts are the batch, whatever the number of ranks."""
    return rows[ranks.rank :: ranks.size]


def main() -> None:
    """Run `horovodrun` with this process's arguments."""
    from horovod.runner import launch
    from horovod.runner.http import http_server

    launch.gloo_built = lambda **_: True
    if "-H" not in sys.argv:
        find_port = http_server.find_port
        http_server.find_port = lambda serve: find_port(lambda address: serve(("127.0.0.1", address[1])))
    launch.run_commandline()


if __name__ == "__main__":
    main()
