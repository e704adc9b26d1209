"""Burial as compiled loops; twin of ``nmmo_gpu.world.burial``."""

from collections import namedtuple
from typing import Any

from nmmo_gpu.cpu.compile import arrays_of, compiled
from nmmo_gpu.cpu.threads import parallel, realm_slices
from nmmo_gpu.world.state import World

_BurialFields = namedtuple("_BurialFields", "alive cause row col occupant presence deaths")


@compiled
def _burial(world, agents, low, high):
    for r in range(low, high):
        for a in range(world.alive.shape[1]):
            cause = world.cause[r, a]
            if cause:
                y, x = world.row[r, a], world.col[r, a]
                world.alive[r, a] = False
                world.occupant[r, y, x] = 0
                world.presence[r, y, x] = 0
                if a < agents:
                    world.deaths[r, cause] += 1


def arguments(world: World) -> tuple[Any, ...]:
    """Arguments of ``_burial``, except the range of realms."""
    return arrays_of(_BurialFields, world), world.config.slots


def burial(world: World) -> None:
    """See ``nmmo_gpu.world.burial.burial``."""
    fixed = arguments(world)
    parallel(_burial, [(*fixed, *piece) for piece in realm_slices(world.realms)])
