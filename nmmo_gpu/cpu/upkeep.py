"""Upkeep and footprints as compiled loops; twin of ``nmmo_gpu.world.upkeep``."""

from typing import Any

import numpy as np
import torch

from nmmo_gpu.content import CONSTITUTION, Material
from nmmo_gpu.cpu.compile import arrays_of, compiled
from nmmo_gpu.cpu.random import draw
from nmmo_gpu.cpu.threads import cut, parallel
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.regrowth import TICK_MASK
from nmmo_gpu.world.regrowth_table import threshold_tensor
from nmmo_gpu.world.state import MAX_AGE, VISITED_SIDE, Cause, World

_UPKEEP_FIELDS = "alive row col health food water freeze age chilled cause level material shore regrow_at"

LAVA, SCRUB, FOREST = int(Material.LAVA), int(Material.SCRUB), int(Material.FOREST)
BY_LAVA, BY_HUNGER, BY_THIRST = int(Cause.LAVA), int(Cause.HUNGER), int(Cause.THIRST)
STREAM = int(Stream.REGROW)
LAST = VISITED_SIDE - 1


@compiled(allocates=False)
def _upkeep(seed, tick, world, thresholds, config, low, high):
    """Processes slots ``low`` to ``high``, numbered across all realms."""
    (
        alive, row, col, health, food, water, freeze, age, chilled, cause, level, material, shore, regrow_at
    ) = world  # fmt: skip
    freeze_ticks, forage, heal_above, body, skilled, agents = config
    slots = alive.shape[1]
    for r in range(low // slots, (high - 1) // slots + 1):
        for a in range(max(low - r * slots, 0), min(high - r * slots, slots)):
            chill = chilled[r, a]
            chilled[r, a] = False
            if not alive[r, a] or health[r, a] <= 0:
                continue
            frozen = freeze_ticks if chill else freeze[r, a]
            freeze[r, a] = max(frozen - 1, 0)
            if a >= agents:
                age[r, a] += age[r, a] < MAX_AGE
                continue
            y, x = row[r, a], col[r, a]
            ground = material[r, y, x]
            if ground == LAVA:
                cause[r, a] = BY_LAVA
                continue
            f, w, h = food[r, a], water[r, a], health[r, a]
            if ground == FOREST:
                f = min(f + forage, body[1])
                material[r, y, x] = SCRUB
                if len(thresholds):
                    word = draw(seed, tick, STREAM, r, y * material.shape[2] + x)[0]
                    wait = np.searchsorted(thresholds, np.int64(word), side="right") + 1
                    regrow_at[r, y, x] = (tick + wait) & TICK_MASK
            if shore[r, y, x]:
                w = min(w + forage, body[2])
            if f > heal_above and w > heal_above:
                h = min(h + 1, np.int64(level[r, a, CONSTITUTION]) if skilled else body[0])
            w = max(w - 1, 0)
            f = max(f - 1, 0)
            h = max(h - (f == 0) - (w == 0), 0)
            food[r, a] = f
            water[r, a] = w
            health[r, a] = h
            if h == 0:
                cause[r, a] = BY_HUNGER if f == 0 else BY_THIRST
            else:
                age[r, a] += age[r, a] < MAX_AGE


@compiled(allocates=False)
def _explore(alive, row, col, explored, visited, low, high):
    """Processes agent slots ``low`` to ``high``, numbered across all realms."""
    slots = explored.shape[1]
    for r in range(low // slots, (high - 1) // slots + 1):
        for a in range(max(low - r * slots, 0), min(high - r * slots, slots)):
            if alive[r, a]:
                bit = np.int64(1) << (col[r, a] & LAST)
                word = visited[r, a, row[r, a] & LAST]
                if not word & bit:
                    visited[r, a, row[r, a] & LAST] = word | bit
                    explored[r, a] += 1


def arguments(world: World) -> tuple[Any, ...]:
    """Arguments of ``_upkeep``, except the range of slots."""
    cfg = world.config
    body = np.array((cfg.max_health, cfg.max_food, cfg.max_water))
    config = cfg.freeze_ticks, cfg.forage, cfg.heal_above, body, cfg.skills, cfg.slots
    thresholds = threshold_tensor(cfg.regrowth, torch.device("cpu")).numpy()
    return world.seed.numpy(), int(world.tick), arrays_of(_UPKEEP_FIELDS, world), thresholds, config


def explore_arguments(world: World) -> tuple[Any, ...]:
    """Arguments of ``_explore``, except the range of slots."""
    return tuple(t.numpy() for t in (world.alive, world.row, world.col, world.explored, world.visited))


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
