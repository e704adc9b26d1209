"""Combat as compiled loops; twin of ``nmmo_gpu.world.combat``."""

from collections import namedtuple
from typing import Any

import numpy as np
from torch import Tensor

from nmmo_gpu.content import MAGE
from nmmo_gpu.cpu.combat_rolls import fight
from nmmo_gpu.cpu.compile import arrays_of, compiled, fields_of
from nmmo_gpu.cpu.threads import parallel, realm_slices
from nmmo_gpu.world.combat_rolls import LARGEST_DAMAGE
from nmmo_gpu.world.state import Cause, World

_CombatFields = namedtuple("_CombatFields", "alive row col age health food water damage chilled cause")
_CombatConfig = namedtuple("_CombatConfig", "reach damage immune_ticks max_food max_water")

COMBAT = int(Cause.COMBAT)


@compiled
def _combat(world, style, target, config, low, high):
    alive, row, col = world.alive, world.row, world.col
    slots = alive.shape[1]
    lost = np.zeros(slots, np.int32)
    gained = np.zeros(slots, np.int32)
    for r in range(low, high):
        lost[:] = 0
        gained[:] = 0
        world.damage[r, :] = 0
        fought = False
        for a in range(slots):
            v = target[r, a]
            if v < 0 or v == a or not alive[r, a] or not alive[r, v]:
                continue
            s = style[r, a]
            harm = config.damage[s]
            distance = max(abs(row[r, a] - row[r, v]), abs(col[r, a] - col[r, v]))
            if distance > config.reach[s] or harm == 0:
                continue
            fought = True
            lost[v] += harm
            gained[a] = harm
            if s == MAGE:
                world.chilled[r, v] = True
        if not fought:
            continue
        for a in range(slots):
            if lost[a] == 0 and gained[a] == 0:
                continue
            change = gained[a] - lost[a]
            world.food[r, a] = min(max(world.food[r, a] + change, 0), config.max_food)
            world.water[r, a] = min(max(world.water[r, a] + change, 0), config.max_water)
            if world.age[r, a] >= config.immune_ticks:
                world.damage[r, a] = min(lost[a], LARGEST_DAMAGE)
                world.health[r, a] = max(world.health[r, a] - lost[a], 0)
                if world.health[r, a] == 0:
                    world.cause[r, a] = COMBAT


def arguments(world: World, style: Tensor, target: Tensor) -> tuple[Any, ...]:
    """Arguments of ``_combat``, except the range of realms."""
    config = fields_of(_CombatConfig, world.config)
    return arrays_of(_CombatFields, world), style.numpy(), target.numpy(), config


def combat(world: World, style: Tensor, target: Tensor) -> None:
    """See ``nmmo_gpu.world.combat.combat``."""
    if world.config.extended:
        fight(world, style, target)
        return
    fixed = arguments(world, style, target)
    parallel(_combat, [(*fixed, *piece) for piece in realm_slices(world.realms)])
