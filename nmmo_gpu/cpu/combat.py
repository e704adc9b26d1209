"""Combat as compiled loops; twin of ``nmmo_gpu.world.combat``."""

from typing import Any

import numpy as np
from torch import Tensor

from nmmo_gpu.content import MAGE
from nmmo_gpu.cpu.combat_rolls import fight
from nmmo_gpu.cpu.compile import arrays_of, choices_of, compiled
from nmmo_gpu.cpu.threads import parallel, realm_slices
from nmmo_gpu.world.combat_rolls import LARGEST_DAMAGE
from nmmo_gpu.world.state import Cause, World

_COMBAT_FIELDS = "alive row col age health food water damage chilled cause"

COMBAT = int(Cause.COMBAT)


@compiled
def _combat(style, target, world, config, low, high):
    alive, row, col, age, health, food, water, damage, chilled, cause = world
    reach, harm, immune_ticks, max_food, max_water = config
    slots = alive.shape[1]
    lost = np.zeros(slots, np.int32)
    gained = np.zeros(slots, np.int32)
    for r in range(low, high):
        lost[:] = 0
        gained[:] = 0
        damage[r, :] = 0
        fought = False
        for a in range(slots):
            v = target[r, a]
            if v < 0 or v == a or not alive[r, a] or not alive[r, v]:
                continue
            s = style[r, a]
            distance = max(abs(row[r, a] - row[r, v]), abs(col[r, a] - col[r, v]))
            if distance > reach[s] or harm[s] == 0:
                continue
            fought = True
            lost[v] += harm[s]
            gained[a] = harm[s]
            if s == MAGE:
                chilled[r, v] = True
        if not fought:
            continue
        for a in range(slots):
            if lost[a] == 0 and gained[a] == 0:
                continue
            change = gained[a] - lost[a]
            food[r, a] = min(max(food[r, a] + change, 0), max_food)
            water[r, a] = min(max(water[r, a] + change, 0), max_water)
            if age[r, a] >= immune_ticks:
                damage[r, a] = min(lost[a], LARGEST_DAMAGE)
                health[r, a] = max(health[r, a] - lost[a], 0)
                if health[r, a] == 0:
                    cause[r, a] = COMBAT


def arguments(world: World, style: Tensor, target: Tensor) -> tuple[Any, ...]:
    """Arguments of ``_combat``, except the range of realms."""
    cfg = world.config
    config = np.array(cfg.reach), np.array(cfg.damage), cfg.immune_ticks, cfg.max_food, cfg.max_water
    return *choices_of(style, target), arrays_of(_COMBAT_FIELDS, world), config


def combat(world: World, style: Tensor, target: Tensor) -> None:
    """See ``nmmo_gpu.world.combat.combat``."""
    if world.config.extended:
        fight(world, style, target)
        return
    fixed = arguments(world, style, target)
    parallel(_combat, [(*fixed, *piece) for piece in realm_slices(world.realms)])
