"""Weights that treat the four directions alike.

The world has no preferred direction: turn it by a quarter, and the right move turns with it. A network that
knows this learns about all four directions from what happens in one. Its features come in four copies, copy
g looking at the world as if direction g (east, south, west, north) were east; turning the world only
renumbers the copies. Cohen and Welling 2016, "Group equivariant convolutional networks" (arXiv 1602.07576),
for the group of quarter turns.

Nothing else needs to know: the functions here make ordinary weight matrices out of the small sets of free
weights. Activations are ``[..., 4 * width]``, copy by copy.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TURNS = 4
"""Quarter turns in a full one; also the number of copies of each feature."""


def turned_features(names: tuple[str, ...], vectors: tuple[tuple[str, str], ...]) -> Tensor:
    """[4, n, n] float32: matrices that turn a vector of named features so that direction g becomes east.

    Args:
        names: the features. vectors: (row, column) pairs among them; all others stay as they are."""
    matrices = torch.eye(len(names)).repeat(TURNS, 1, 1)
    for row_name, col_name in vectors:
        row, col = names.index(row_name), names.index(col_name)
        turn = torch.eye(2)
        for g in range(TURNS):
            both = torch.tensor([row, col])
            matrices[g][both[:, None], both] = turn
            turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]]) @ turn  # (row, column) -> (-column, row)
    return matrices


def lift_cells(free: Tensor) -> Tensor:
    """[P, cells, codes, 4 * width] window table from [P, cells, codes, width]; the cells form a square."""
    side = math.isqrt(free.shape[1])
    square = free.view(free.shape[0], side, side, *free.shape[2:])
    # What stands in direction g is to copy g what stands in the east is to copy 0.
    return torch.cat([torch.rot90(square, -g, (1, 2)) for g in range(TURNS)], -1).flatten(1, 2)


def lift(free: Tensor, turns: Tensor) -> Tensor:
    """[..., n, 4 * width] from [..., n, width]: input features that turn by [4, n, n] matrices."""
    return torch.cat([turns[g].T @ free for g in range(TURNS)], -1)


def mix(free: Tensor) -> Tensor:
    """[..., 4 * width_in, 4 * width_out] from [..., 4, width_in, width_out]: a layer between lifted features.

    What copy h tells copy g depends on the turn from g to h alone."""
    turned = free.unbind(-3)
    columns = [torch.cat([turned[(h - g) % TURNS] for h in range(TURNS)], -2) for g in range(TURNS)]
    return torch.cat(columns, -1)


def pool(free: Tensor) -> Tensor:
    """[P, 4 * width, n] from [P, width, n]: outputs that do not turn, the same for all copies."""
    return free.repeat(1, TURNS, 1)


def lower(free: Tensor, turns: Tensor) -> Tensor:
    """[P, 4 * width, n] from [P, width, n]: outputs that turn like features, by [4, n, n] matrices."""
    return torch.cat([free @ turns[g] for g in range(TURNS)], 1)


def repeat(free: Tensor) -> Tensor:
    """[P, 1, 4 * width] biases from [P, 1, width]."""
    return free.repeat(1, 1, TURNS)
