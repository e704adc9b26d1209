"""The layers between the network's first and its heads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def hidden_layers(total: Tensor, matrices: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """[P, B, hidden]: a rectified linear layer on ``relu(total)``, then others, each added to what it sees.

    Args:
        total: [P, B, hidden], the first layer's sums.
        matrices: [P, hidden, hidden] each, at least one. biases: [P, 1, hidden] each.
    """
    hidden = torch.relu(total)
    first, *deeper = zip(biases, matrices, strict=True)
    hidden = torch.relu(torch.baddbmm(first[0], hidden, first[1]))
    for bias, matrix in deeper:
        hidden = hidden + torch.relu(torch.baddbmm(bias, hidden, matrix))
    return hidden
