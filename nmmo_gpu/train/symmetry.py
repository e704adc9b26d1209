"""Weights that are equivariant to quarter turns.

The world has no preferred direction: if it is rotated by a quarter turn, the best move rotates with it. An
equivariant network learns about all four directions from experience in one. Its features come in four copies;
copy g sees the world as if direction g (east, south, west, north) were east, so a rotation of the world only
permutes the copies. Cohen and Welling 2016, "Group equivariant convolutional networks" (arXiv 1602.07576),
for the group of quarter turns.

The functions here build ordinary weight matrices from the smaller sets of free weights, so the rest of the
network needs no changes. Activations are ``[..., 4 * width]``, copy by copy.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TURNS = 4
"""Quarter turns in a full turn; also the number of copies of each feature."""


def turned_features(names: tuple[str, ...], vectors: tuple[tuple[str, str], ...]) -> Tensor:
    """Returns [4, n, n] float32: matrices that rotate a vector of features so that direction g becomes east.

    Args:
        names: names of the features.
        vectors: pairs of names that are the (row, column) components of vectors; other features are
            invariant."""
    matrices = torch.eye(len(names), dtype=torch.float32, device="cpu").repeat(TURNS, 1, 1)
    # (row, column) -> (-column, row)
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float32, device="cpu")
    for row_name, col_name in vectors:
        row, col = names.index(row_name), names.index(col_name)
        turn = torch.eye(2, dtype=torch.float32, device="cpu")
        for g in range(TURNS):
            both = torch.tensor([row, col], dtype=torch.int64, device="cpu")
            matrices[g][both[:, None], both] = turn
            turn = quarter @ turn
    return matrices


def lift_cells(free: Tensor) -> Tensor:
    """Returns the window table [P, cells, codes, 4 * width] of free weights [P, cells, codes, width].

    The cells form a square."""
    side = math.isqrt(free.shape[1])
    square = free.view(free.shape[0], side, side, *free.shape[2:])
    # Copy g has the same weights for direction g as copy 0 has for east.
    return torch.cat([torch.rot90(square, -g, (1, 2)) for g in range(TURNS)], -1).flatten(1, 2)


def lift(free: Tensor, turns: Tensor) -> Tensor:
    """Returns the matrix [..., n, 4 * width] of free weights [..., n, width], for input features that rotate
    by the matrices ``turns``, [4, n, n]."""
    return torch.cat([turns[g].T @ free for g in range(TURNS)], -1)


def mix(free: Tensor) -> Tensor:
    """Returns the matrix [..., 4 * width_in, 4 * width_out] of free weights [..., 4, width_in, width_out],
    for a layer between lifted features.

    The weights from copy h to copy g depend only on the turn from g to h."""
    turned = free.unbind(-3)
    columns = [torch.cat([turned[(h - g) % TURNS] for h in range(TURNS)], -2) for g in range(TURNS)]
    return torch.cat(columns, -1)


def pool(free: Tensor) -> Tensor:
    """Returns the matrix [P, 4 * width, n] of free weights [P, width, n], for invariant outputs."""
    return free.repeat(1, TURNS, 1)


def lower(free: Tensor, turns: Tensor) -> Tensor:
    """Returns the matrix [P, 4 * width, n] of free weights [P, width, n], for outputs that rotate by the
    matrices ``turns``, [4, n, n]."""
    return torch.cat([free @ turns[g] for g in range(TURNS)], 1)


def repeat(free: Tensor) -> Tensor:
    """Returns biases [P, 1, 4 * width] from free weights [P, 1, width]."""
    return free.repeat(1, 1, TURNS)
