"""Train a `tabular_net` from a work folder, on as many ranks as there are; nothing here knows Horovod.

All ranks walk the same seeded global batches and dropout masks and each takes its share, so the number of ranks changes
the loss curve by rounding only. Rows are read ahead of the step, from files that may be larger than memory: an epoch
goes through them by pools of shuffled blocks. The next batch is made ready while gradients are on their way between the
ranks. Evaluation and export use an exponential average of the weights.
"""

import hashlib
import json
import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nightloop.training.checkpoint import Progress, read_progress, save_arrays, write_progress
from nightloop.training.distributed import Ranks, share
from nightloop.training.net import TabularNet, named_arrays
from nightloop.training.net_shape import NetShape
from nightloop.training.optimizer import AdamW

log = logging.getLogger("nightloop.training")

_CHUNK = 4_096
_BLOCK_ROWS, _POOL_BLOCKS = 4_096, 64
_BATCHES_AHEAD = 2
_CELLS_PER_THREAD = 500_000


class Arrays:
    """The rows of one window, mapped from files: a rank reads only the rows of its share."""

    def __init__(self, work: Path, window: str, device: torch.device) -> None:
        self.features = np.load(work / f"{window}_features.npy", mmap_mode="r", allow_pickle=False)
        self.targets = np.load(work / f"{window}_targets.npy", mmap_mode="r", allow_pickle=False)
        self.weights = np.load(work / f"{window}_weights.npy", mmap_mode="r", allow_pickle=False)
        self.device = device

    @property
    def rows(self) -> int:
        return len(self.features)

    def take(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        parts = (self.features[rows], self.targets[rows], self.weights[rows])
        features, targets, weights = (torch.from_numpy(part).to(self.device) for part in parts)
        return features, targets, weights


class _Batch(NamedTuple):
    """One rank's share of a global batch of so many rows, which together weigh `total`, and of its dropout masks."""

    rows: int
    total: float
    features: Tensor
    targets: Tensor
    weights: Tensor
    masks: list[Tensor] | None = None


def draw_batches(rows: int, batch: int, random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield the places of an epoch's global batches; each row comes once, and only the last batch may be smaller.

    Blocks of consecutive rows are shuffled, and the rows of 64 blocks at a time: a window of up to 262,144 rows is
    shuffled whole, of a larger one no more needs to be in memory at a time.
    """
    blocks = random.permutation(-(-rows // _BLOCK_ROWS))
    left = np.empty(0, np.int64)
    for start in range(0, len(blocks), _POOL_BLOCKS):
        begins = blocks[start : start + _POOL_BLOCKS] * _BLOCK_ROWS
        pool = np.concatenate([np.arange(begin, min(begin + _BLOCK_ROWS, rows)) for begin in begins])
        left = np.concatenate([left, random.permutation(pool)])
        is_last = start + _POOL_BLOCKS >= len(blocks)
        stop = len(left) if is_last else len(left) // batch * batch
        yield from (left[place : min(place + batch, stop)] for place in range(0, stop, batch))
        left = left[stop:]


def draw_masks(shape: NetShape, rows: int, keep: float, generator: torch.Generator) -> Tensor:
    """Return the dropout of a global batch, [blocks, rows, width]: which units stay."""
    return torch.rand(shape.blocks, rows, shape.width, generator=generator) < keep


def train_stages(work: Path, spec: Mapping[str, Any], ranks: Ranks) -> None:
    """Choose epochs where the spec names none, then fit the whole window where it has one; rank 0 writes the model."""
    device = _device(spec, ranks)
    _limit_threads(spec)
    started = time.monotonic()
    outcome: dict[str, Any] = {"epochs": spec["epochs"], "ranks": ranks.size, "device": str(device)}
    if outcome["epochs"] is None:
        stage = _Stage(work, spec, ranks, device, "choose", int(spec["max_epochs"]))
        progress = stage.run()
        outcome.update(epochs=progress.best_epoch, curve=progress.curve)
        if ranks.rank == 0:
            np.save(work / "choose_margins.npy", stage.margins(stage.judge, stage.judge.rows), allow_pickle=False)
    if "whole" in spec["shapes"]:
        stage = _Stage(work, spec, ranks, device, "whole", int(outcome["epochs"]))
        outcome["final_curve"] = stage.run().curve
        if ranks.rank == 0:
            np.save(work / "margins.npy", stage.margins(stage.arrays, int(spec["parity_rows"])), allow_pickle=False)
            save_arrays(work / "weights.npz", named_arrays(stage.net))
    outcome["seconds"] = time.monotonic() - started
    outcome["rows_per_second"] = stage.rows_per_second
    outcome["step_ms"] = 1000.0 * stage.batch / stage.rows_per_second if stage.rows_per_second else 0.0
    if device.type == "cuda":
        outcome["gpu_memory_mb"] = torch.cuda.max_memory_allocated(device) / 2**20
    (work / f"rank-{ranks.rank}.json").write_text(json.dumps({"digest": _digest(stage.net)}))
    if ranks.rank == 0:
        (work / "outcome.json").write_text(json.dumps(outcome))


class _Stage:
    """One run over epochs: `choose` stops early on the choose window, `whole` runs a fixed number of epochs."""

    def __init__(
        self, work: Path, spec: Mapping[str, Any], ranks: Ranks, device: torch.device, name: str, epochs: int
    ) -> None:
        self.spec, self.ranks, self.device, self.name, self.epochs = spec, ranks, device, name, epochs
        self.checkpoint = work / f"checkpoint-{name}.npz"
        self.is_choosing = name == "choose"
        self.arrays = Arrays(work, "fit" if self.is_choosing else "whole", device)
        self.judge = Arrays(work, "choose", device) if self.is_choosing else self.arrays
        # by each stage: a frozen recipe, which skips the first, begins the second with the weights of its twin
        torch.manual_seed(int(spec["seed"]))
        window = "fit" if self.is_choosing else "whole"
        bins = torch.from_numpy(np.load(work / f"{window}_bins.npy", allow_pickle=False))
        self.net = TabularNet(_shape(spec["shapes"][window]), bins).to(device)
        self.parameters = dict(self.net.named_parameters())
        self.average = {name: value.detach().clone() for name, value in self.parameters.items()}
        self.batch = int(spec["batch_rows"])
        self.optimizer = AdamW(self.net.parameters(), float(spec["learning_rate"]), float(spec["weight_decay"]))
        self.rows_per_second = 0.0

    def run(self) -> Progress:
        """Train to the end, from the last checkpoint where there is one, and leave the chosen weights in `net`."""
        # before the checkpoint is read: Horovod makes a new optimizer, which would not take over this one's state
        optimizer = self.ranks.prepare(self.optimizer, self.net)
        progress = read_progress(self.checkpoint, self.average, optimizer, self.parameters, self.ranks)
        steps = -(-self.arrays.rows // self.batch)
        decay = max(0.0, 1.0 - 1.0 / (float(self.spec["average_epochs"]) * steps + 1.0))
        while progress.epoch < self.epochs and not self._is_stale(progress):
            started = time.monotonic()
            loss = self._run_epoch(optimizer, progress.epoch, steps, decay)
            self.rows_per_second = self.arrays.rows / (time.monotonic() - started)
            judged = self._judge() if self.is_choosing else loss
            progress.record(loss, judged, self.average, keeps_best=self.is_choosing)
            if self.ranks.rank == 0:
                write_progress(self.checkpoint, progress, self.average, optimizer, self.parameters)
                log.info("%s epoch %d: loss %.5f, judged %.5f", self.name, progress.epoch, loss, judged)
                # printed too: a rank has no handler of logs, and its launcher follows what it prints
                print(f"{self.name} epoch {progress.epoch}: loss {loss:.5f}, judged {judged:.5f}", flush=True)  # noqa: T201
        self._load(progress.best if self.is_choosing else self.average)
        return progress

    def margins(self, arrays: Arrays, rows: int) -> NDArray[np.float64]:
        """Return the network's margins [rows, outputs] of the first rows."""
        places = np.arange(min(rows, arrays.rows))
        with torch.no_grad():
            parts = [self.net(arrays.take(chunk)[0]).mean(dim=1).cpu() for chunk in _chunks(places)]
        return torch.cat(parts).double().numpy()

    def _run_epoch(self, optimizer: Any, epoch: int, steps: int, decay: float) -> float:
        """Return the weighted mean loss of the epoch, the same on every rank."""
        summed, weighed = torch.zeros((), dtype=torch.float64), 0.0
        self.net.train()
        batches = self._read_ahead(epoch)
        batch = next(batches)
        for step in range(steps):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                margins = self.net(batch.features, batch.masks).float()
            losses = _member_losses(self.spec["task"], margins, batch.targets, float(self.spec["focal_gamma"]))
            loss = (losses * batch.weights).sum()
            optimizer.zero_grad()
            # Horovod averages over the ranks: times their number that is the loss per weight of the global batch
            (loss * (self.ranks.size / batch.total)).backward()  # type: ignore[no-untyped-call]
            summed += loss.detach().cpu().double()
            weighed += batch.total
            batch = next(batches, batch)  # the gradients are on their way meanwhile
            optimizer.step()
            self._average(epoch * steps + step, decay)
        mean = float(self.ranks.total(summed)) / weighed
        # the same figure on every rank, so that all of them stop
        if not np.isfinite(mean):
            raise FloatingPointError(f"the loss of epoch {epoch + 1} is {mean}: lower `learning_rate` of the recipe")
        return mean

    def _read_ahead(self, epoch: int) -> Iterator[_Batch]:
        """Yield this rank's batches; a thread reads the next ones meanwhile."""
        # of seed and epoch alone: a training that resumes at an epoch draws what an undisturbed one drew
        generator = torch.Generator().manual_seed(int(self.spec["seed"]) * 1_000_003 + epoch)
        places = draw_batches(self.arrays.rows, self.batch, np.random.default_rng((int(self.spec["seed"]), epoch)))
        with ThreadPoolExecutor(max_workers=1) as reader:
            ahead = deque(reader.submit(self._read, rows) for rows in islice(places, _BATCHES_AHEAD))
            while ahead:
                batch = ahead.popleft().result()
                ahead.extend(reader.submit(self._read, rows) for rows in islice(places, 1))
                yield batch._replace(masks=self._masks(batch.rows, generator))

    def _read(self, rows: NDArray[np.int64]) -> _Batch:
        total = float(self.arrays.weights[rows].sum())
        return _Batch(len(rows), total, *self.arrays.take(share(self.ranks, rows)))

    def _masks(self, rows: int, generator: torch.Generator) -> list[Tensor] | None:
        """Return this rank's rows of the global batch's dropout."""
        keep = 1.0 - float(self.spec["dropout"])
        if keep >= 1.0:
            return None
        drawn = draw_masks(self.net.shape, rows, keep, generator)
        own = drawn[:, self.ranks.rank :: self.ranks.size].to(self.device, torch.float32) / keep
        return list(own)

    def _average(self, step: int, decay: float) -> None:
        # a short average at first, so that the weights it began with do not linger in it
        weight = 1.0 - min(decay, (1.0 + step) / (10.0 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.parameters.values()), weight)

    def _judge(self) -> float:
        """Return the weighted mean loss of the averaged weights on the choose window."""
        own = {name: value.detach().clone() for name, value in self.parameters.items()}
        self._load(self.average)
        summed = torch.zeros(2, dtype=torch.float64)
        with torch.no_grad():
            for chunk in _chunks(share(self.ranks, np.arange(self.judge.rows))):
                features, targets, weights = self.judge.take(chunk)
                losses = _losses(self.spec["task"], self.net(features).mean(dim=1), targets)
                summed += torch.stack([(losses * weights).sum(), weights.sum()]).cpu().double()
        self._load(own)
        loss, weight = self.ranks.total(summed).tolist()
        return float(loss / weight)

    def _load(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(values[name])

    def _is_stale(self, progress: Progress) -> bool:
        return self.is_choosing and progress.epoch - progress.best_epoch >= int(self.spec["patience"])


def _member_losses(task: str, margins: Tensor, targets: Tensor, focal_gamma: float) -> Tensor:
    """Return the mean loss of the members, [B]: each learns on its own, from margins [B, members, outputs].

    With a gamma above 0 it is the focal loss of Lin et al. 2017, "Focal Loss for Dense Object Detection": rows that are
    told rightly with certainty weigh less.
    """
    rows, members, _ = margins.shape
    losses = _losses(task, margins.flatten(0, 1), targets.repeat_interleave(members))
    if focal_gamma > 0 and task != "regression":
        losses = (1.0 - torch.exp(-losses)) ** focal_gamma * losses
    return losses.view(rows, members).mean(dim=1)


def _losses(task: str, margins: Tensor, targets: Tensor) -> Tensor:
    if task == "regression":
        return (margins[:, 0] - targets) ** 2
    if task == "binary":
        return torch.nn.functional.binary_cross_entropy_with_logits(margins[:, 0], targets, reduction="none")
    return torch.nn.functional.cross_entropy(margins, targets.long(), reduction="none")


def _chunks(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]


def _shape(document: Mapping[str, Any]) -> NetShape:
    return NetShape(**{**document, "cardinalities": tuple(document["cardinalities"])})


def _device(spec: Mapping[str, Any], ranks: Ranks) -> torch.device:
    if spec["accelerator"] == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    torch.cuda.set_device(ranks.local_rank)
    return torch.device("cuda", ranks.local_rank)


def _limit_threads(spec: Mapping[str, Any]) -> None:
    """Use more threads only for layers that repay them: idle ones spin, and slow a busy machine down tenfold."""
    shape = next(iter(spec["shapes"].values()))
    cells = int(spec["batch_rows"]) * int(shape["members"]) * int(shape["width"])
    torch.set_num_threads(max(1, min(torch.get_num_threads(), cells // _CELLS_PER_THREAD)))


def _digest(net: TabularNet) -> str:
    joined = b"".join(value.tobytes() for value in named_arrays(net).values())
    return hashlib.sha256(joined).hexdigest()
