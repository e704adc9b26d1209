"""Regrowth as compiled loops; twin of ``nmmo_gpu.world.regrowth``."""

from typing import Any

from nmmo_gpu.cpu.compile import compiled
from nmmo_gpu.cpu.threads import parallel, realm_slices
from nmmo_gpu.world.regrowth import TICK_MASK
from nmmo_gpu.world.regrowth_table import NEVER
from nmmo_gpu.world.state import World

BLOCK = 128
"""Tiles looked at before asking whether any of them is due: a loop without branches runs in vectors."""


@compiled
def _regrowth(now, area, base, material, regrow_at, low, high):
    for start in range(low * area, high * area, BLOCK):
        end = min(start + BLOCK, high * area)
        due = 0
        for i in range(start, end):
            due += regrow_at[i] == now
        if due:
            for i in range(start, end):
                if regrow_at[i] == now:
                    material[i] = base[i]
                    regrow_at[i] = NEVER


def arguments(world: World) -> tuple[Any, ...]:
    """What ``_regrowth`` works on, but for the range of realms."""
    planes = (world.base, world.material, world.regrow_at)
    now = int(world.tick) & TICK_MASK
    return (now, world.config.height * world.config.width, *(t.view(-1).numpy() for t in planes))


def regrowth(world: World) -> None:
    """See ``nmmo_gpu.world.regrowth.regrowth``."""
    fixed = arguments(world)
    parallel(_regrowth, [(*fixed, *piece) for piece in realm_slices(world.realms)])
