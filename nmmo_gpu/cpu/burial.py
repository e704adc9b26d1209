"""Burial as compiled loops; twin of ``nmmo_gpu.world.burial``."""

from nmmo_gpu.cpu.compile import compiled
from nmmo_gpu.cpu.threads import parallel, realm_slices
from nmmo_gpu.world.state import World


@compiled
def _burial(alive, cause, row, col, occupant, presence, deaths, low, high):
    for r in range(low, high):
        for a in range(alive.shape[1]):
            if cause[r, a]:
                alive[r, a] = False
                occupant[r, row[r, a], col[r, a]] = 0
                presence[r, row[r, a], col[r, a]] = 0
                deaths[r, cause[r, a]] += 1


def burial(world: World) -> None:
    """See ``nmmo_gpu.world.burial.burial``."""
    arrays = [
        t.numpy()
        for t in (
            world.alive, world.cause, world.row, world.col, world.occupant, world.presence, world.deaths,
        )
    ]  # fmt: skip
    parallel(_burial, [(*arrays, *piece) for piece in realm_slices(world.realms)])
