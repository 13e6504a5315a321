"""Time the training step of `tabular_net` on two ranks of this host: Horovod, DistributedDataParallel, and no exchange.

`make bench NAME=training`. The same net, optimizer, rows, batches and dropout on every side, in the order of a
training's step: the next masks are drawn between backward pass and update. Two processes each take half of a batch.
`train_vs_ddp` is Horovod's samples per second over DistributedDataParallel's (Gloo), `train_vs_limit` over those of two
processes that exchange nothing, which no exchange can beat. The sides take turns in rounds. `read_overhead` is what it
takes to bring rows from a Delta table to the ranks, batch by batch, over an epoch on the same rows in memory.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from deltalake import write_deltalake

from benchmarks.harness import MIN_PAIRS, Spread, write_result
from nightloop.dataset import DatasetRef
from nightloop.run import Replay, format_night
from nightloop.stores.lake.files import LakeFiles
from nightloop.training.dataset import lay_out
from nightloop.training.distributed import HorovodRanks, OneRank
from nightloop.training.encoder import fit_encoder
from nightloop.training.launch import command_of_ranks
from nightloop.training.net import TabularNet
from nightloop.training.net_shape import NetShape, find_bins
from nightloop.training.net_training import Arrays, draw_batches, draw_masks
from nightloop.training.optimizer import AdamW
from nightloop.training.problem import Matrix
from nightloop.training.tabular_net import write_rows

RANKS = 2
BATCH = 2048
STEPS, WARM_UP_STEPS = 60, 10
KEEP = 0.9
ROUNDS = MIN_PAIRS
READ_ROWS = 200_000
SHAPE = NetShape(numbers=20, cardinalities=(8, 12, 50, 200), outputs=1, width=128, blocks=2, members=16, number_width=8)
SIDES = ("horovod", "ddp", "limit")


def main() -> int:
    """Time every side in turn, round by round."""
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    for turn in range(ROUNDS):
        for side in SIDES[turn % len(SIDES) :] + SIDES[: turn % len(SIDES)]:
            found[side].append(run_side(side))
        print(f"round {turn + 1}/{ROUNDS}: " + ", ".join(f"{side} {found[side][-1]:,.0f}/s" for side in SIDES))
    ratios = {
        f"train_vs_{side}": Spread.of(
            [ours / theirs for ours, theirs in zip(found["horovod"], found[side], strict=True)]
        )
        for side in ("ddp", "limit")
    }
    epoch_s = READ_ROWS / Spread.of(found["horovod"]).median
    read_s = [measure_reading() for _ in range(ROUNDS)]
    ratios["read_overhead"] = Spread.of([seconds / epoch_s for seconds in read_s])
    parameters = sum(value.numel() for value in _net(0).parameters())
    figures: dict[str, Any] = {f"samples_per_second_{side}": vars(Spread.of(found[side])) for side in SIDES}
    figures |= {
        "read_rows": READ_ROWS,
        "read_s": vars(Spread.of(read_s)),
        "epoch_s": round(epoch_s, 2),
        "ranks": RANKS,
        "batch_rows": BATCH,
        "parameters": parameters,
        "shape": SHAPE.to_dict(),
    }
    write_result("training", ratios=ratios, figures=figures, notes=__doc__ or "")
    return 0


def run_side(side: str) -> float:
    """Return the samples per second of all ranks together."""
    with tempfile.TemporaryDirectory(prefix="nightloop-bench-") as folder:
        worker = [sys.executable, "-m", "benchmarks.training", side, folder]
        environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // RANKS))}
        if side == "horovod":
            subprocess.run(command_of_ranks(RANKS, worker), env=environment, check=True, stdout=subprocess.DEVNULL)
        else:
            started = [
                subprocess.Popen(worker, env={**environment, "RANK": str(rank), "WORLD_SIZE": str(RANKS)})
                for rank in range(RANKS)
            ]
            if any(process.wait() for process in started):
                raise RuntimeError(f"a rank of {side} failed")
        seconds: list[float] = [json.loads(path.read_text()) for path in Path(folder).glob("rank-*.json")]
    # a step has ended when its slowest rank has
    return BATCH * STEPS / max(seconds)


def measure_reading() -> float:
    """Return the seconds from a Delta table to the last batch of an epoch: read, encode, lay out, take."""
    random = np.random.default_rng(0)
    numeric = [f"number_{place}" for place in range(SHAPE.numbers)]
    categorical = [f"category_{place}" for place in range(len(SHAPE.cardinalities))]
    columns: dict[str, Any] = {name: random.normal(size=READ_ROWS) for name in numeric}
    for name, cardinality in zip(categorical, SHAPE.cardinalities, strict=True):
        columns[name] = random.integers(0, cardinality, READ_ROWS).astype(str)
    columns["label"] = random.integers(0, 2, READ_ROWS).astype(float)
    night = datetime(2025, 1, 1, tzinfo=UTC)
    ref, replay = DatasetRef("features", "bench", "v1"), Replay("bench", (night,))
    columns |= {"night": [format_night(night)] * READ_ROWS, "variant": [replay.variant] * READ_ROWS}
    with tempfile.TemporaryDirectory(prefix="nightloop-bench-") as top:
        write_deltalake(f"{top}/lake/{ref.path}", pa.table(columns), partition_by=["night", "variant"])
        started = time.perf_counter()
        stored = LakeFiles(f"{top}/lake").open(ref, replay)
        table = lay_out(Path(top, "rows.arrow"), map(_table, stored.stream([*numeric, *categorical, "label"])))
        encoder = fit_encoder(table, numeric, categorical)
        labels, features = table.column("label").to_numpy(), encoder.transform_into(Path(top, "encoded.npy"), table)
        write_rows(Path(top), "whole", Matrix(encoder.layout, features, labels, np.ones(READ_ROWS)))
        arrays = Arrays(Path(top), "whole", torch.device("cpu"))
        for places in draw_batches(READ_ROWS, BATCH, random):
            arrays.take(places)
        return time.perf_counter() - started


def _table(batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch])


def work(side: str, folder: Path) -> None:
    """Be one rank: train some steps and leave the seconds they took."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    rank = int(os.environ.get("RANK", "0"))
    ranks = HorovodRanks() if side == "horovod" else OneRank()
    rank = ranks.rank if side == "horovod" else rank
    net = _net(0)
    forward: Any = net
    if side == "ddp":
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=RANKS
        )
        forward = torch.nn.parallel.DistributedDataParallel(net)
    optimizer = ranks.prepare(AdamW(net.parameters(), 2e-3, 1e-2), net)
    random = np.random.default_rng(rank)
    matrix, targets = torch.from_numpy(_matrix(random)), torch.from_numpy(random.integers(0, 2, BATCH // RANKS))
    generator = torch.Generator().manual_seed(0)

    def draw() -> list[torch.Tensor]:
        return list(draw_masks(SHAPE, BATCH, KEEP, generator)[:, rank::RANKS].float() / KEEP)

    masks, started = draw(), 0.0
    for step in range(WARM_UP_STEPS + STEPS):
        if step == WARM_UP_STEPS:
            started = time.perf_counter()
        margins = forward(matrix, masks)[:, :, 0]
        wanted = targets[:, None].expand_as(margins).float()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(margins, wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        masks = draw()
        optimizer.step()
    (folder / f"rank-{rank}.json").write_text(json.dumps(time.perf_counter() - started))


def _net(seed: int) -> TabularNet:
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    numbers = _matrix(random)[:, : SHAPE.numbers]
    bins = find_bins(numbers, random.integers(0, 2, len(numbers)).astype(float), 32, is_regression=False)
    return TabularNet(SHAPE, torch.from_numpy(bins))


def _matrix(random: np.random.Generator) -> np.ndarray:
    numbers = random.normal(size=(BATCH // RANKS, SHAPE.numbers))
    codes = [random.integers(0, cardinality, BATCH // RANKS) for cardinality in SHAPE.cardinalities]
    return np.column_stack([numbers, *codes]).astype(np.float32)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        work(sys.argv[1], Path(sys.argv[2]))
    else:
        sys.exit(main())
