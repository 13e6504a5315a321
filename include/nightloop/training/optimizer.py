"""AdamW after Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2.

PyTorch's own optimizers import its compiler at their first step, which costs every rank seconds before its first batch.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

_FIRST_DECAY, _SECOND_DECAY, _EPSILON = 0.9, 0.999, 1e-8


class AdamW(Optimizer):
    """Keeps `exp_avg`, `exp_avg_sq` and `step` per parameter."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float = 1e-3, weight_decay: float = 0.0) -> None:
        _skip_compiler()
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ARG002
        for group in self.param_groups:
            parameters = [one for one in group["params"] if one.grad is not None]
            gradients: list[Tensor] = [one.grad for one in parameters]
            states = [self._state_of(one) for one in parameters]
            first, second = [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states]
            for state in states:
                state["step"] += 1
            steps = float(states[0]["step"])
            torch._foreach_mul_(parameters, 1.0 - group["lr"] * group["weight_decay"])
            torch._foreach_lerp_(first, gradients, 1.0 - _FIRST_DECAY)
            torch._foreach_mul_(second, _SECOND_DECAY)
            torch._foreach_addcmul_(second, gradients, gradients, 1.0 - _SECOND_DECAY)
            spread = torch._foreach_sqrt(second)
            torch._foreach_div_(spread, (1.0 - _SECOND_DECAY**steps) ** 0.5)
            torch._foreach_add_(spread, _EPSILON)
            torch._foreach_addcdiv_(parameters, first, spread, -group["lr"] / (1.0 - _FIRST_DECAY**steps))

    def _state_of(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        return state


def _skip_compiler() -> None:
    """Mark the optimizer's bookkeeping as not to be compiled, as its first call would by importing the compiler."""
    for method in (Optimizer.zero_grad, Optimizer.add_param_group):
        plain = getattr(method, "__wrapped__", None)
        if plain is not None:
            setattr(plain, "__dynamo_disable", plain)
