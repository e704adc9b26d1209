"""Spawning as compiled loops; twin of ``nmmo_gpu.world.spawning``."""

from functools import cache
from typing import Any

import numpy as np

from nmmo_gpu.config import ALL_FREE_SLOTS
from nmmo_gpu.cpu.compile import compiled
from nmmo_gpu.cpu.random import below, draw
from nmmo_gpu.cpu.threads import parallel, realm_slices
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import World
from nmmo_gpu.world.terrain import ring_tiles

SLOT_STREAM, TILE_STREAM = int(Stream.SPAWN_SLOT), int(Stream.SPAWN_TILE)


@compiled
def _spawning(
    seed, tick, births, alive, entity, row, col, health, food, water, freeze, heading, age, damage, explored,
    visited, occupant, presence, next_entity, ring, body, population_size, low, high,
):  # fmt: skip
    if births == 0:
        return
    slots = alive.shape[1]
    width = occupant.shape[2]
    tried = np.empty(slots, np.int64)
    tile = np.empty(slots, np.int64)
    priority = np.empty(slots, np.uint64)
    best = np.full(len(ring), -1, np.int64)
    for r in range(low, high):
        free = 0
        for a in range(slots):
            if not alive[r, a]:
                free += 1
        if free == 0:
            continue
        first = 0
        if births != ALL_FREE_SLOTS:
            word = draw(seed, tick, SLOT_STREAM, r, 0)[0]
            first = below(word, free)
        count = 0
        rank = 0
        for a in range(slots):
            if alive[r, a]:
                continue
            place = rank - first if rank >= first else rank - first + free
            rank += 1
            if births == ALL_FREE_SLOTS or place < births:
                where, order, _, _ = draw(seed, tick, TILE_STREAM, r, a)
                spot = below(where, len(ring))
                if occupant[r].reshape(-1)[ring[spot]] == 0:
                    tried[count] = a
                    tile[count] = spot
                    priority[count] = order
                    # Of several on one tile the lowest priority wins; the earlier slot if they are equal.
                    if best[spot] < 0 or order < priority[best[spot]]:
                        best[spot] = count
                    count += 1
        for i in range(count):
            if best[tile[i]] != i:
                continue
            a = tried[i]
            at = ring[tile[i]]
            entity[r, a] = next_entity[r]
            next_entity[r] += 1
            alive[r, a] = True
            row[r, a] = at // width
            col[r, a] = at % width
            health[r, a] = body[0]
            food[r, a] = body[1]
            water[r, a] = body[2]
            freeze[r, a] = 0
            heading[r, a] = 0
            age[r, a] = 0
            damage[r, a] = 0
            explored[r, a] = 0
            visited[r, a, :] = 0
            occupant[r].reshape(-1)[at] = a + 1
            presence[r].reshape(-1)[at] = a // population_size + 1
        for i in range(count):
            best[tile[i]] = -1


@cache
def _ring(height: int, width: int, border: int) -> np.ndarray:
    return ring_tiles(height, width, border).numpy()


def arguments(world: World) -> tuple[Any, ...]:
    """What ``_spawning`` works on, but for the range of realms."""
    cfg = world.config
    tensors = (
        world.alive, world.entity, world.row, world.col, world.health, world.food, world.water,
        world.freeze, world.heading, world.age, world.damage, world.explored, world.visited,
        world.occupant, world.presence, world.next_entity,
    )  # fmt: skip
    constants = (
        _ring(cfg.height, cfg.width, cfg.border),
        np.array((cfg.max_health, cfg.max_food, cfg.max_water)),
        cfg.population_size,
    )
    return (int(world.seed), int(world.tick), cfg.births, *(t.numpy() for t in tensors), *constants)


def spawning(world: World) -> None:
    """See ``nmmo_gpu.world.spawning.spawning``."""
    fixed = arguments(world)
    parallel(_spawning, [(*fixed, *piece) for piece in realm_slices(world.realms)])
