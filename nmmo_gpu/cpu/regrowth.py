"""Regrowth as compiled loops; twin of ``nmmo_gpu.world.regrowth``."""

from typing import Any

import numpy as np

from nmmo_gpu.cpu.compile import compiled
from nmmo_gpu.cpu.threads import cut, parallel
from nmmo_gpu.world.regrowth import TICK_MASK
from nmmo_gpu.world.regrowth_table import NEVER
from nmmo_gpu.world.state import World

BLOCK = 64
"""Number of tiles examined before testing whether any of them is due, because a loop without branches and of
constant length is vectorized."""


@compiled(allocates=False)
def _regrowth(now, base, material, regrow_at, low, high):
    """Processes tiles ``low`` to ``high``."""
    now = np.int32(now)
    whole = high - (high - low) % BLOCK
    for start in range(low, whole, BLOCK):
        block = regrow_at[start : start + BLOCK]
        due = False
        for i in range(BLOCK):
            due |= block[i] == now
        if due:
            for i in range(BLOCK):
                if block[i] == now:
                    material[start + i] = base[start + i]
                    block[i] = NEVER
    for i in range(whole, high):
        if regrow_at[i] == now:
            material[i] = base[i]
            regrow_at[i] = NEVER


def arguments(world: World) -> tuple[Any, ...]:
    """Arguments of ``_regrowth``, except the range of tiles."""
    planes = (world.base, world.material, world.regrow_at)
    return (int(world.tick) & TICK_MASK, *(t.view(-1).numpy() for t in planes))


def regrowth(world: World) -> None:
    """See ``nmmo_gpu.world.regrowth.regrowth``."""
    fixed = arguments(world)
    cfg = world.config
    pieces = cut(world.realms, cfg.slots, cfg.height * cfg.width)
    parallel(_regrowth, [(*fixed, *piece) for piece in pieces])
