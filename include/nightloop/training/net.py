"""The network of `tabular_net`: embeddings of categories beside numbers, then residual blocks.

After the ResNet of Gorishniy et al. 2021, "Revisiting Deep Learning Models for Tabular Data", section 3.2, with layer
normalisation, which does not look across a batch and so is the same on any number of ranks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True)
class NetShape:
    """Sizes of a network; `cardinalities` counts the codes of each category column, 0 included."""

    numbers: int
    cardinalities: tuple[int, ...]
    outputs: int
    width: int
    blocks: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def embedding_width(cardinality: int) -> int:
    """Return the size of one column's embedding: grows slowly with its codes."""
    return int(min(16, max(2, round(cardinality**0.5))))


class TabularNet(nn.Module):
    """Encoded matrix [B, numbers + categories] → margins [B, outputs]."""

    def __init__(self, shape: NetShape) -> None:
        super().__init__()
        self.shape = shape
        self.embeddings = nn.ModuleList(
            nn.Embedding(cardinality, embedding_width(cardinality)) for cardinality in shape.cardinalities
        )
        inputs = shape.numbers + sum(embedding_width(cardinality) for cardinality in shape.cardinalities)
        self.entry = nn.Linear(inputs, shape.width)
        self.norms = nn.ModuleList(nn.LayerNorm(shape.width) for _ in range(shape.blocks + 1))
        self.rises = nn.ModuleList(nn.Linear(shape.width, shape.width) for _ in range(shape.blocks))
        self.falls = nn.ModuleList(nn.Linear(shape.width, shape.width) for _ in range(shape.blocks))
        self.exit = nn.Linear(shape.width, shape.outputs)
        for table in self.embeddings.parameters():
            nn.init.normal_(table, std=0.1)

    def forward(self, matrix: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
        """Return margins [B, outputs]; `masks` [B, width] are the dropout of each block, scaled."""
        numbers = self.shape.numbers
        codes = matrix[:, numbers:].long()
        parts = [matrix[:, :numbers], *(embed(codes[:, place]) for place, embed in enumerate(self.embeddings))]
        hidden = self.entry(torch.cat(parts, dim=1))
        for block in range(self.shape.blocks):
            inner = torch.relu(self.rises[block](self.norms[block](hidden)))
            hidden = hidden + self.falls[block](inner if masks is None else inner * masks[block])
        return self.exit(torch.relu(self.norms[-1](hidden)))  # type: ignore[no-any-return]


def named_arrays(net: TabularNet) -> Mapping[str, NDArray[np.float32]]:
    """Return the parameters by name, as float32 arrays."""
    return {name: value.detach().cpu().numpy() for name, value in net.named_parameters()}
