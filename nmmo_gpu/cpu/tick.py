"""All phases of a tick except observation, in one pass.

Realms are independent, so a thread runs all phases of a realm while its tiles are in the CPU's cache, and the
threads synchronize once per tick instead of once per phase. With few and large realms, the phases run one at
a time, and the threads share the realms in all work that is done per agent or per tile.

This applies to ``law`` and ``chaos``. In the full game, whose phases are longer, it was not faster, so the
phases run one at a time."""

from torch import Tensor

from nmmo_gpu.cpu.burial import _burial, burial
from nmmo_gpu.cpu.burial import arguments as burial_arguments
from nmmo_gpu.cpu.combat import _combat, combat
from nmmo_gpu.cpu.combat import arguments as combat_arguments
from nmmo_gpu.cpu.compile import compiled
from nmmo_gpu.cpu.movement import _movement, movement
from nmmo_gpu.cpu.movement import arguments as movement_arguments
from nmmo_gpu.cpu.regrowth import _regrowth, regrowth
from nmmo_gpu.cpu.regrowth import arguments as regrowth_arguments
from nmmo_gpu.cpu.spawning import _spawning, spawning
from nmmo_gpu.cpu.spawning import arguments as spawning_arguments
from nmmo_gpu.cpu.threads import parallel, realm_slices, shared
from nmmo_gpu.cpu.upkeep import _explore, _upkeep, explore, explore_arguments, upkeep
from nmmo_gpu.cpu.upkeep import arguments as upkeep_arguments
from nmmo_gpu.world.state import World


@compiled
def _phases(fight, go, spawn, regrow, keep, discover, bury, slots, area, low, high):
    for r in range(low, high):
        _combat(*fight, r, r + 1)
        _movement(*go, r, r + 1)
        _spawning(*spawn, r, r + 1)
        _regrowth(*regrow, r * area, (r + 1) * area)
        _upkeep(*keep, r * slots, (r + 1) * slots)
        _explore(*discover, r * slots, (r + 1) * slots)
        _burial(*bury, r, r + 1)


def phases(world: World, move: Tensor, style: Tensor, target: Tensor) -> None:
    """Runs the phases of ``nmmo_gpu.world.tick.step``, in the same order."""
    world.acted += world.alive.sum(1)
    world.cause.zero_()
    cfg = world.config
    if shared(world.realms, cfg.slots):
        combat(world, style, target)
        movement(world, move)
        spawning(world)
        regrowth(world)
        upkeep(world)
        explore(world)
        burial(world)
    else:
        fixed = (
            combat_arguments(world, style, target),
            movement_arguments(world, move),
            spawning_arguments(world),
            regrowth_arguments(world),
            upkeep_arguments(world),
            explore_arguments(world),
            burial_arguments(world),
            cfg.slots,
            cfg.height * cfg.width,
        )
        parallel(_phases, [(*fixed, *piece) for piece in realm_slices(world.realms)])
    world.tick += 1
