"""The hidden layers of the network, between its first layer and its heads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def hidden_layers(total: Tensor, matrices: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """Applies a linear layer with ReLU to ``relu(total)``, then further ones with residual connections.

    Args:
        total: [P, B, hidden], pre-activations of the first layer.
        matrices: [P, hidden, hidden] each, at least one.
        biases: [P, 1, hidden] each.

    Returns:
        [P, B, hidden].
    """
    hidden = torch.relu(total)
    first, *deeper = zip(biases, matrices, strict=True)
    hidden = torch.relu(torch.baddbmm(first[0], hidden, first[1]))
    for bias, matrix in deeper:
        hidden = hidden + torch.relu(torch.baddbmm(bias, hidden, matrix))
    return hidden
