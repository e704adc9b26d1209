"""Growth as compiled loops; twin of ``nmmo_gpu.world.growth``."""

from functools import cache
from typing import Any

import numpy as np

from nmmo_gpu.content.tables import LEVELS, Tables, experience_table
from nmmo_gpu.cpu.compile import compiled
from nmmo_gpu.cpu.threads import cut, parallel
from nmmo_gpu.world import growth as rule
from nmmo_gpu.world.events import Event
from nmmo_gpu.world.state import MAX_EXPERIENCE, MAX_STACK, World

RISES = int(Event.LEVELS)
THRESHOLDS = np.array(experience_table(), np.int32)
GEAR_SKILLS = np.array(rule.GEAR_SKILLS)


@compiled(allocates=False)
def _growth(
    alive, xp, level, inventory, worn, events, gear, gear_level, weightless, skills, over, low, high
):  # fmt: skip
    """Processes agent slots ``low`` to ``high``, numbered across all realms. ``gear``: [kinds of gear, ranks]
    item, -1 for ranks that do not exist; ``weightless``: items; ``over``: [1] bool, set if a stack of one of
    these is above its limit."""
    slots = worn.shape[1]
    for r in range(low // slots, (high - 1) // slots + 1):
        for a in range(max(low - r * slots, 0), min(high - r * slots, slots)):
            if not alive[r, a]:
                continue
            if skills:
                for s in range(xp.shape[2]):
                    gained = xp[r, a, s]
                    if gained > MAX_EXPERIENCE:
                        gained = MAX_EXPERIENCE
                        xp[r, a, s] = gained
                    # Start at the old level, which is rarely far from the new one.
                    was = np.int64(level[r, a, s])
                    now = was if was < LEVELS else np.int64(LEVELS)
                    while now < LEVELS and gained >= THRESHOLDS[now]:
                        now += 1
                    while now > 0 and gained < THRESHOLDS[now - 1]:
                        now -= 1
                    if now != was:
                        level[r, a, s] = now
                        events[r, a, RISES] += now - was if now > was else 0
            for g in range(gear.shape[0]):
                skill = level[r, a, GEAR_SKILLS[g]]
                best = 0
                for rank in range(gear.shape[1], 0, -1):
                    item = gear[g, rank - 1]
                    if item >= 0 and inventory[r, a, item] > 0 and skill >= gear_level[g, rank - 1]:
                        best = rank
                        break
                worn[r, a, g] = best
            for item in weightless:
                if inventory[r, a, item] > MAX_STACK:
                    over[0] = True


@cache
def _gear(tables: Tables) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (item, required level), [kinds of gear, ranks] each, item -1 for nonexistent ranks; and the
    items without weight; cached."""
    ranks = max(map(len, tables.gear))
    rows = [items + (-1,) * (ranks - len(items)) for items in tables.gear]
    levels = [needed + (0,) * (ranks - len(needed)) for needed in tables.gear_level]
    return np.array(rows, np.int64), np.array(levels, np.int64), np.array(tables.weightless, np.int64)


def arguments(world: World) -> tuple[Any, ...]:
    """Arguments of ``_growth``, except ``over`` and the range of slots."""
    cfg = world.config
    tensors = (world.alive, world.xp, world.level, world.inventory, world.worn, world.events)
    return (*(t.numpy() for t in tensors), *_gear(cfg.tables), cfg.skills)


def growth(world: World) -> None:
    """See ``nmmo_gpu.world.growth.growth``."""
    over = np.zeros(1, np.bool_)
    fixed = (*arguments(world), over)
    slots = world.config.slots
    parallel(_growth, [(*fixed, *piece) for piece in cut(world.realms, slots, slots)])
    if over[0]:  # rare, so the rule in torch does it
        rule.limit_stacks(world, world.agents(world.alive))
