"""The layers between the network's first layer and its heads; twin of ``nmmo_gpu.train.layers``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nmmo_gpu.kernels.train.fused_layers import fused_layers
from nmmo_gpu.kernels.train.library_layers import library_layers
from nmmo_gpu.kernels.train.tiles import FUSED, target_of


def hidden_layers(total: Tensor, matrices: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """See ``nmmo_gpu.train.layers.hidden_layers``. ``nmmo_gpu.kernels.train.tiles.FUSED`` selects how."""
    # Exact products in float32 do not use tensor cores, and a library computes them faster.
    fused = total.dtype == torch.bfloat16 and FUSED[target_of(total.device)]
    return (fused_layers if fused else library_layers)(total, matrices, biases)
