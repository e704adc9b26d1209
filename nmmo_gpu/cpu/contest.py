"""Contests for a tile, for compiled loops; twin of ``nmmo_gpu.world.contest``."""

import numpy as np

from nmmo_gpu.cpu.compile import compiled
from nmmo_gpu.cpu.random import below, draw
from nmmo_gpu.world import contest as rule

CLAIMANTS = np.array(rule.CLAIMANTS, np.int64)
NTH = np.array(rule.NTH, np.int64)


@compiled(inline="always")
def wins(seed, tick, stream, r, tile, mask, bit):
    """Returns whether the claimant ``bit`` wins a tile of realm ``r``; ``mask`` holds all its claims."""
    if mask == bit:
        return True
    word = draw(seed, tick, stream, r, tile)[0]
    return NTH[mask, below(word, CLAIMANTS[mask])] == bit
