"""Progress of a training, kept after each epoch as plain arrays; a restarted training goes on from there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nightloop.training.distributed import Ranks

Tensors = Mapping[str, Tensor]


@dataclass
class Progress:
    """Epochs done, losses [epoch, (trained, judged)], and the best averaged weights so far."""

    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
    curve: list[list[float]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    def record(self, loss: float, judged: float, average: Tensors, *, keeps_best: bool) -> None:
        self.epoch += 1
        self.curve.append([loss, judged])
        if judged < self.best_loss:
            self.best_epoch, self.best_loss = self.epoch, judged
            if keeps_best:
                self.best = {name: value.clone() for name, value in average.items()}


def write_progress(path: Path, progress: Progress, average: Tensors, optimizer: Any, parameters: Tensors) -> None:
    """Write the checkpoint, whole or not at all."""
    arrays: dict[str, Any] = {
        "epochs": np.array([progress.epoch, progress.best_epoch]),
        "best_loss": np.array(progress.best_loss),
        "curve": np.array(progress.curve, np.float64).reshape(-1, 2),
    }
    for name, parameter in parameters.items():
        state = optimizer.state[parameter]
        arrays[f"parameter/{name}"] = _array(parameter)
        arrays[f"average/{name}"] = _array(average[name])
        arrays[f"first/{name}"], arrays[f"second/{name}"] = _array(state["exp_avg"]), _array(state["exp_avg_sq"])
        arrays[f"step/{name}"] = _array(state["step"])
    arrays.update({f"best/{name}": _array(value) for name, value in progress.best.items()})
    save_arrays(path, arrays)


def read_progress(path: Path, average: Tensors, optimizer: Any, parameters: Tensors, ranks: Ranks) -> Progress:
    """Restore the last checkpoint of this training, or begin; then every rank takes what rank 0 has."""
    progress = Progress()
    device = next(iter(parameters.values())).device
    # rank 0 decides for all: a rank at another epoch than the others would wait for them for ever
    is_resumed = torch.tensor(float(ranks.rank == 0 and path.exists()))
    ranks.broadcast([is_resumed])
    if is_resumed:
        with np.load(path, allow_pickle=False) as arrays:
            progress.epoch, progress.best_epoch = (int(value) for value in arrays["epochs"])
            progress.best_loss = float(arrays["best_loss"])
            progress.curve = arrays["curve"].tolist()
            for name, parameter in parameters.items():
                _fill(parameter, arrays[f"parameter/{name}"])
                _fill(average[name], arrays[f"average/{name}"])
                moments = {"exp_avg": arrays[f"first/{name}"], "exp_avg_sq": arrays[f"second/{name}"]}
                optimizer.state[parameter] = {
                    # stays on the CPU: `AdamW` reads it at every step, and a GPU would first end what is queued
                    "step": torch.from_numpy(arrays[f"step/{name}"].copy()),
                    **{key: torch.from_numpy(value.copy()).to(device) for key, value in moments.items()},
                }
                if f"best/{name}" in arrays:
                    progress.best[name] = torch.from_numpy(arrays[f"best/{name}"].copy()).to(device)
    ranks.broadcast([value.detach() for value in parameters.values()])
    ranks.broadcast(average.values())
    return progress


def save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays by name, whole or not at all; `numpy.load(path, allow_pickle=False)` reads them."""
    # with its own .npz: `savez` appends one to a name that has none, and the rename would miss the file
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, **dict(arrays))
    partial.replace(path)


def _array(value: Tensor) -> Any:
    return value.detach().cpu().numpy()


def _fill(tensor: Tensor, array: Any) -> None:
    with torch.no_grad():
        tensor.copy_(torch.from_numpy(array.copy()))
