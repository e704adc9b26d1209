"""Burial as compiled loops; twin of ``nmmo_gpu.world.burial``."""

from typing import Any

from nmmo_gpu.cpu.compile import compiled
from nmmo_gpu.cpu.threads import parallel, realm_slices
from nmmo_gpu.world.state import World


@compiled(allocates=False)
def _burial(alive, cause, row, col, occupant, presence, deaths, agents, low, high):
    for r in range(low, high):
        for a in range(alive.shape[1]):
            if cause[r, a]:
                alive[r, a] = False
                occupant[r, row[r, a], col[r, a]] = 0
                presence[r, row[r, a], col[r, a]] = 0
                if a < agents:
                    deaths[r, cause[r, a]] += 1


def arguments(world: World) -> tuple[Any, ...]:
    """Arguments of ``_burial``, except the range of realms."""
    tensors = (
        world.alive, world.cause, world.row, world.col, world.occupant, world.presence, world.deaths,
    )  # fmt: skip
    return (*(t.numpy() for t in tensors), world.config.slots)


def burial(world: World) -> None:
    """See ``nmmo_gpu.world.burial.burial``."""
    fixed = arguments(world)
    parallel(_burial, [(*fixed, *piece) for piece in realm_slices(world.realms)])
