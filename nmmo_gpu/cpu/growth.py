"""Growth as compiled loops; twin of ``nmmo_gpu.world.growth``."""

from collections import namedtuple
from functools import cache
from typing import Any

import numpy as np

from nmmo_gpu.content.tables import LEVELS, Tables, experience_table
from nmmo_gpu.cpu.compile import arrays_of, compiled
from nmmo_gpu.cpu.threads import cut, parallel
from nmmo_gpu.world import growth as rule
from nmmo_gpu.world.events import Event
from nmmo_gpu.world.state import MOST_EXPERIENCE, World

_GrowthFields = namedtuple("_GrowthFields", "alive xp level inventory worn events")
_GrowthTables = namedtuple("_GrowthTables", "gear gear_level")
"""Items and required levels of each kind of gear by rank ([kinds of gear, ranks] int64); item -1 for ranks
that do not exist."""

RISES = int(Event.LEVELS)
THRESHOLDS = np.array(experience_table(), np.int32)
GEAR_SKILLS = np.array(rule.GEAR_SKILLS)


@compiled(inline="always")
def _raise_levels(world, r, a):
    """Levels of agent ``a`` of realm ``r`` by its experience."""
    for s in range(world.xp.shape[2]):
        gained = world.xp[r, a, s]
        if gained > MOST_EXPERIENCE:
            gained = MOST_EXPERIENCE
            world.xp[r, a, s] = gained
        # Starts at the old level, which is rarely far from the new one.
        was = np.int64(world.level[r, a, s])
        now = was if was < LEVELS else np.int64(LEVELS)
        while now < LEVELS and gained >= THRESHOLDS[now]:
            now += 1
        while now > 0 and gained < THRESHOLDS[now - 1]:
            now -= 1
        if now != was:
            world.level[r, a, s] = now
            world.events[r, a, RISES] += now - was if now > was else 0


@compiled(inline="always")
def _equip(world, tables, r, a):
    """The best gear of each kind that agent ``a`` of realm ``r`` holds and may wear."""
    for g in range(tables.gear.shape[0]):
        skill = world.level[r, a, GEAR_SKILLS[g]]
        best = 0
        for rank in range(tables.gear.shape[1], 0, -1):
            item = tables.gear[g, rank - 1]
            if item >= 0 and world.inventory[r, a, item] > 0 and skill >= tables.gear_level[g, rank - 1]:
                best = rank
                break
        world.worn[r, a, g] = best


@compiled
def _growth(world, tables, skills, low, high):
    """Agent slots ``low`` to ``high``, numbered across all realms."""
    slots = world.worn.shape[1]
    for r in range(low // slots, (high - 1) // slots + 1):
        for a in range(max(low - r * slots, 0), min(high - r * slots, slots)):
            if world.alive[r, a]:
                if skills:
                    _raise_levels(world, r, a)
                _equip(world, tables, r, a)


@cache
def _gear(tables: Tables) -> _GrowthTables:
    ranks = max(map(len, tables.gear))
    rows = [items + (-1,) * (ranks - len(items)) for items in tables.gear]
    levels = [needed + (0,) * (ranks - len(needed)) for needed in tables.gear_level]
    return _GrowthTables(np.array(rows, np.int64), np.array(levels, np.int64))


def arguments(world: World) -> tuple[Any, ...]:
    """Arguments of ``_growth``, except the range of slots."""
    return arrays_of(_GrowthFields, world), _gear(world.config.tables), world.config.skills


def growth(world: World) -> None:
    """See ``nmmo_gpu.world.growth.growth``."""
    fixed = arguments(world)
    slots = world.config.slots
    parallel(_growth, [(*fixed, *piece) for piece in cut(world.realms, slots, slots)])
