"""Gymnasium spaces of what one agent sees and chooses."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium.spaces import Box, Dict, MultiDiscrete

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.world.actions import heads
from nmmo_gpu.world.layout import ObservationField, ObservationLayout


def observation_space(config: WorldConfig) -> Dict:
    """An entry for every field of ``ObservationLayout``, of its shape; bool fields are 0 or 1 in int8."""
    return Dict({name: _space(field) for name, field in ObservationLayout(config).fields.items()})


def action_space(config: WorldConfig) -> MultiDiscrete[np.int64]:
    """One choice of each head (``nmmo_gpu.world.actions.heads``), in their order."""
    return MultiDiscrete(list(heads(config).values()))


def _space(field: ObservationField) -> Box[np.integer]:
    if field.dtype == torch.bool:
        return Box(0, 1, field.shape, np.int8)
    limits = torch.iinfo(field.dtype)
    return Box(limits.min, limits.max, field.shape, torch.empty(0, dtype=field.dtype).numpy().dtype.type)
