"""The network of `tabular_net`: a linear model and an ensemble that shares its weights, over embedded columns.

Numbers go through piecewise-linear encodings of learned weight (Gorishniy et al. 2022, "On Embeddings for Numerical
Features in Tabular Deep Learning"), categories through learned embeddings. The members of the ensemble differ in a
scaling of these inputs and in their heads alone: TabM-mini of Gorishniy et al. 2025, "TabM: Advancing Tabular Deep
Learning with Parameter-Efficient Ensembling". A linear path beside it begins as the whole model, so that few rows give
a logistic regression (Cheng et al. 2016, "Wide & Deep Learning for Recommender Systems"). Nothing looks across a batch,
so any number of ranks computes the same.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from nightloop.training.net_shape import FloatArray, NetShape, embedding_width


class TabularNet(nn.Module):
    """Encoded matrix [B, numbers + categories] → margins of each member [B, members, outputs].

    `bins` come from `find_bins`. A number is embedded by weights over its place in each bin, which begin at 0, and over
    its own value. The members' heads begin at 0 as well.
    """

    lefts: Tensor
    slopes: Tensor

    def __init__(self, shape: NetShape, bins: Tensor) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("lefts", bins[0])
        self.register_buffer("slopes", bins[1])
        self.number_weights = nn.Parameter(torch.zeros(shape.numbers, bins.shape[2] + 1, shape.number_width))
        self.embeddings = nn.ModuleList(
            nn.Embedding(cardinality, embedding_width(cardinality)) for cardinality in shape.cardinalities
        )
        inputs = sum(shape.input_widths)
        self.scalings = nn.Parameter(_one_per_column(shape))
        widths = [inputs, *[shape.width] * shape.blocks]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        self.direct = nn.Linear(inputs, shape.outputs)
        self.heads = nn.Parameter(torch.zeros(shape.members, shape.width, shape.outputs))
        bound = shape.number_width**-0.5
        self.number_weights.data[:, -1].uniform_(-bound, bound)
        for table in self.embeddings.parameters():
            nn.init.normal_(table, std=0.1)

    def forward(self, matrix: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
        """Return every member's margins; `masks` [B, width] are the dropout after each layer, scaled, for all alike."""
        entry, *rest = self.layers
        # scales the weights and not the inputs, which would be copied for every row and member
        own_weights = (self.scalings[:, None, :] * entry.get_parameter("weight")).flatten(0, 1)
        embedded = self._embed(matrix)
        hidden = nn.functional.linear(embedded, own_weights).view(len(matrix), self.shape.members, self.shape.width)
        hidden = self._activate(hidden + entry.get_parameter("bias"), masks, 0)
        for place, layer in enumerate(rest, 1):
            hidden = self._activate(layer(hidden), masks, place)
        direct: Tensor = self.direct(embedded)
        return torch.einsum("bkw,kwo->bko", hidden, self.heads) + direct[:, None, :]

    def _embed(self, matrix: Tensor) -> Tensor:
        numbers = matrix[:, : self.shape.numbers, None]
        places = ((numbers - self.lefts) * self.slopes).clamp(0, 1)
        known = torch.einsum("bft,ftd->bfd", torch.cat([places, numbers], dim=2), self.number_weights)
        codes = matrix[:, self.shape.numbers :].long()
        return torch.cat(
            [known.flatten(1), *(embed(codes[:, place]) for place, embed in enumerate(self.embeddings))], dim=1
        )

    @staticmethod
    def _activate(hidden: Tensor, masks: Sequence[Tensor] | None, place: int) -> Tensor:
        active = torch.relu(hidden)
        return active if masks is None else active * masks[place][:, None, :]


def named_arrays(net: TabularNet) -> Mapping[str, FloatArray]:
    """Return the parameters by name, as float32 arrays."""
    return {name: value.detach().cpu().numpy() for name, value in net.named_parameters()}


def _one_per_column(shape: NetShape) -> Tensor:
    """Draw [members, inputs]: one normal number per member and column, the same over the column's embedding."""
    widths = torch.tensor(shape.input_widths)
    return torch.randn(shape.members, len(widths)).repeat_interleave(widths, dim=1)
