"""Upkeep and footprints as compiled loops; twin of ``nmmo_gpu.world.upkeep``."""

from collections import namedtuple
from typing import Any

import numpy as np
import torch

from nmmo_gpu.content import CONSTITUTION, Material
from nmmo_gpu.cpu.compile import arrays_of, compiled, fields_of
from nmmo_gpu.cpu.random import draw
from nmmo_gpu.cpu.threads import cut, parallel
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.regrowth import TICK_MASK
from nmmo_gpu.world.regrowth_table import threshold_tensor
from nmmo_gpu.world.state import VISITED_SIDE, Cause, World

_UpkeepFields = namedtuple(
    "_UpkeepFields",
    "seed tick alive row col health food water freeze age chilled cause level material shore regrow_at",
)
_UpkeepConfig = namedtuple(
    "_UpkeepConfig",
    "slots freeze_ticks forage heal_above max_health max_food max_water skills",
)
_ExploreFields = namedtuple("_ExploreFields", "alive row col explored visited")

LAVA, SCRUB, FOREST = int(Material.LAVA), int(Material.SCRUB), int(Material.FOREST)
BY_LAVA, BY_HUNGER, BY_THIRST = int(Cause.LAVA), int(Cause.HUNGER), int(Cause.THIRST)
STREAM = int(Stream.REGROW)
LAST = VISITED_SIDE - 1


@compiled(inline="always")
def _deplete(world, thresholds, r, y, x):
    """Turns a forest into scrub, and draws the tick at which it regrows."""
    world.material[r, y, x] = SCRUB
    if len(thresholds):
        word = draw(world, STREAM, r, y * world.material.shape[2] + x)[0]
        wait = np.searchsorted(thresholds, np.int64(word), side="right") + 1
        world.regrow_at[r, y, x] = (world.tick[0] + wait) & TICK_MASK


@compiled(inline="always")
def _keep_agent(world, thresholds, config, r, a):
    """What the tile under an agent and a tick do to it."""
    y, x = world.row[r, a], world.col[r, a]
    ground = world.material[r, y, x]
    if ground == LAVA:
        world.cause[r, a] = BY_LAVA
        return
    food, water, health = world.food[r, a], world.water[r, a], world.health[r, a]
    if ground == FOREST:
        food = min(food + config.forage, config.max_food)
        _deplete(world, thresholds, r, y, x)
    if world.shore[r, y, x]:
        water = min(water + config.forage, config.max_water)
    if food > config.heal_above and water > config.heal_above:
        most = np.int64(world.level[r, a, CONSTITUTION]) if config.skills else config.max_health
        health = min(health + 1, most)
    water = max(water - 1, 0)
    food = max(food - 1, 0)
    health = max(health - (food == 0) - (water == 0), 0)
    world.food[r, a] = food
    world.water[r, a] = water
    world.health[r, a] = health
    if health == 0:
        world.cause[r, a] = BY_HUNGER if food == 0 else BY_THIRST
    else:
        world.age[r, a] += 1


@compiled
def _upkeep(world, thresholds, config, low, high):
    """Slots ``low`` to ``high``, numbered across all realms. The first ``config.slots`` of a realm are
    agents."""
    slots = world.alive.shape[1]
    for r in range(low // slots, (high - 1) // slots + 1):
        for a in range(max(low - r * slots, 0), min(high - r * slots, slots)):
            chilled = world.chilled[r, a]
            world.chilled[r, a] = False
            if not world.alive[r, a] or world.health[r, a] <= 0:
                continue
            frozen = config.freeze_ticks if chilled else world.freeze[r, a]
            world.freeze[r, a] = max(frozen - 1, 0)
            if a >= config.slots:
                world.age[r, a] += 1
            else:
                _keep_agent(world, thresholds, config, r, a)


@compiled
def _explore(world, low, high):
    """Agent slots ``low`` to ``high``, numbered across all realms."""
    slots = world.explored.shape[1]
    for r in range(low // slots, (high - 1) // slots + 1):
        for a in range(max(low - r * slots, 0), min(high - r * slots, slots)):
            if world.alive[r, a]:
                bit = np.int64(1) << (world.col[r, a] & LAST)
                at = world.row[r, a] & LAST
                word = world.visited[r, a, at]
                if not word & bit:
                    world.visited[r, a, at] = word | bit
                    world.explored[r, a] += 1


def arguments(world: World) -> tuple[Any, ...]:
    """Arguments of ``_upkeep``, except the range of slots."""
    thresholds = threshold_tensor(world.config.regrowth, torch.device("cpu")).numpy()
    return arrays_of(_UpkeepFields, world), thresholds, fields_of(_UpkeepConfig, world.config)


def explore_arguments(world: World) -> tuple[Any, ...]:
    """Arguments of ``_explore``, except the range of slots."""
    return (arrays_of(_ExploreFields, world),)


def upkeep(world: World) -> None:
    """See ``nmmo_gpu.world.upkeep.upkeep``."""
    fixed = arguments(world)
    cfg = world.config
    parallel(_upkeep, [(*fixed, *piece) for piece in cut(world.realms, cfg.slots, cfg.entities)])


def explore(world: World) -> None:
    """See ``nmmo_gpu.world.upkeep.explore``."""
    fixed = explore_arguments(world)
    slots = world.config.slots
    parallel(_explore, [(*fixed, *piece) for piece in cut(world.realms, slots, slots)])
