"""Low-rank changes of linear layers (LoRA, arXiv:2106.09685), which are merged into the weights after training."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

__all__ = ["LowRank", "add_low_rank", "linear_layers", "merge_low_rank"]


class LowRank(nn.Module):
    """A change ``B A`` of the weight of a linear layer, which is zero until it is trained.

    Registered as a parametrization of the layer, it is part of ``layer.weight`` wherever that is read, also in products that do
    not call the layer.

    Parameters
    ----------
    layer : torch.nn.Linear
        The layer.
    rank : int
        Rank of the change.
    parts : int, default 1
        Number of layers that are fused in the rows of the weight, such as 3 for the query, the key and the value of an
        attention.
    changed : tuple of int, default (0,)
        The numbers of those that are changed.
    """

    def __init__(self, layer: nn.Linear, rank: int, *, parts: int = 1, changed: tuple[int, ...] = (0,)) -> None:
        super().__init__()
        self.rows = layer.out_features // parts
        self.changed = changed
        self.a = nn.Parameter(layer.weight.new_empty(len(changed), rank, layer.in_features))
        self.b = nn.Parameter(layer.weight.new_zeros(len(changed), self.rows, rank))
        for one in self.a:
            nn.init.kaiming_uniform_(one, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the changed weight."""
        change = self.b @ self.a
        if len(self.changed) * self.rows == len(weight):
            return weight + change.flatten(0, 1)
        rows = list(torch.split(weight, self.rows))
        for index, part in enumerate(self.changed):
            rows[part] = rows[part] + change[index]
        return torch.cat(rows)


def linear_layers(network: nn.Module, beginnings: Iterable[str]) -> dict[str, nn.Linear]:
    """Return the linear layers of a network whose names have one of several beginnings, by name."""
    starts = tuple(beginnings)
    return {name: part for name, part in network.named_modules() if isinstance(part, nn.Linear) and name.startswith(starts)}


def add_low_rank(layers: Iterable[tuple[nn.Linear, int, tuple[int, ...]]], rank: int, *, seed: int = 0) -> None:
    """Add a change of low rank to layers.

    Parameters
    ----------
    layers : iterable of (torch.nn.Linear, int, tuple of int)
        The layers, with the ``parts`` and ``changed`` of `LowRank`.
    rank : int
        Rank of each change.
    seed : int, default 0
        Seed of the random weights of ``A``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer, parts, changed in layers:
            change = LowRank(layer, rank, parts=parts, changed=changed)
            parametrize.register_parametrization(layer, "weight", change)


def merge_low_rank(network: nn.Module) -> None:
    """Add the changes of all layers to their weights; the layers are then as before `add_low_rank`, with other weights."""
    for layer in list(network.modules()):
        if isinstance(layer, nn.Linear) and parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
