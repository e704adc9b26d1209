"""Spawning as compiled loops; twin of ``nmmo_gpu.world.spawning``."""

from typing import Any

import numpy as np
import torch

from nmmo_gpu.config import ALL_FREE_SLOTS
from nmmo_gpu.content import CONSTITUTION
from nmmo_gpu.cpu.compile import arrays_of, compiled
from nmmo_gpu.cpu.random import below, draw
from nmmo_gpu.cpu.threads import parallel, realm_slices
from nmmo_gpu.world.events import Flow
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.spawning import birth_experience, birth_levels, ring
from nmmo_gpu.world.state import World
from nmmo_gpu.world.terrain import safe_table

_SPAWN_FIELDS = (
    "alive entity row col health food water freeze heading age damage explored visited material "
    "occupant presence next_entity"
)
_EQUIP_FIELDS = (
    "entity next_entity xp level gold inventory worn offer offer_price offer_left token events ledger"
)

SLOT_STREAM, TILE_STREAM = int(Stream.SPAWN_SLOT), int(Stream.SPAWN_TILE)
SAFE = safe_table().numpy()
INITIAL = int(Flow.INITIAL)


@compiled(inline="always")
def inland(spot, border, width):
    """Converts an index among the tiles from the ring inwards to a tile within the realm."""
    columns = width - 2 * border
    return (border + spot // columns) * width + border + spot % columns


@compiled
def _spawning(seed, tick, world, config, low, high):
    (
        alive, entity, row, col, health, food, water, freeze, heading, age, damage, explored, visited,
        material, occupant, presence, next_entity
    ) = world  # fmt: skip
    births, anywhere, ring, birthplaces, border, body, population_size = config
    if births == 0:
        return
    slots = explored.shape[1]
    width = occupant.shape[2]
    for r in range(low, high):
        free = 0
        for a in range(slots):
            free += not alive[r, a]
        if free == 0:
            continue
        first = 0
        limit = free
        if births != ALL_FREE_SLOTS:
            word = draw(seed, tick, SLOT_STREAM, r, 0)[0]
            first = below(word, free)
            limit = min(free, births)
        tried = np.empty(limit, np.int64)
        tile = np.empty(limit, np.int64)
        priority = np.empty(limit, np.uint64)
        ground = material[r].reshape(-1)
        stands = occupant[r].reshape(-1)
        shows = presence[r].reshape(-1)

        # During the draws, a free tile that was drawn holds -1 - i, where i is the index of the attempt that
        # currently wins it. This avoids a list of places, of which there can be 67 million.
        count = 0
        rank = 0
        for a in range(slots):
            if alive[r, a]:
                continue
            place = rank - first if rank >= first else rank - first + free
            rank += 1
            if births != ALL_FREE_SLOTS and place >= births:
                continue
            where, order, _, _ = draw(seed, tick, TILE_STREAM, r, a)
            spot = below(where, birthplaces)
            if anywhere:
                at = inland(spot, border, width)
                if not SAFE[ground[at]]:
                    continue
            else:
                at = ring[spot]
            holds = stands[at]
            if holds > 0:
                continue
            tried[count] = a
            tile[count] = at
            priority[count] = order
            # The lowest priority on a tile wins; among equal ones, the earlier slot.
            if holds == 0 or order < priority[-1 - holds]:
                stands[at] = -1 - count
            count += 1
        for i in range(count):
            a, at = tried[i], tile[i]
            if stands[at] != -1 - i:
                continue
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
            stands[at] = a + 1
            shows[at] = a // population_size + 1


@compiled(allocates=False)
def _equip(world, birth, r, first):
    """Gives new agents of realm ``r``, with ids from ``first`` on, their initial state of the full game."""
    (
        entity, next_entity, xp, level, gold, inventory, worn, offer, offer_price, offer_left, token,
        events, ledger
    ) = world  # fmt: skip
    birth_xp, birth_levels, birth_gold = birth
    if next_entity[r] == first:
        return
    for a in range(gold.shape[1]):
        if entity[r, a] < first:
            continue
        # Not slices: the check of their lengths takes numba two seconds to compile.
        for skill in range(len(birth_xp)):
            xp[r, a, skill] = birth_xp[skill]
            level[r, a, skill] = birth_levels[skill]
        gold[r, a] = birth_gold
        ledger[r, ledger.shape[1] - 1, INITIAL] += birth_gold
        inventory[r, a, :] = 0
        worn[r, a, :] = 0
        offer[r, a] = 0
        offer_price[r, a] = 0
        offer_left[r, a] = 0
        token[r, a] = 0
        events[r, a, :] = 0


@compiled
def _spawning_of_the_equipped(spawn, goods, low, high):
    next_entity = goods[0][1]
    for r in range(low, high):
        first = next_entity[r]
        _spawning(*spawn, r, r + 1)
        _equip(*goods, r, first)


def arguments(world: World) -> tuple[Any, ...]:
    """Arguments of ``_spawning``, except the range of realms."""
    cfg = world.config
    health = birth_levels()[CONSTITUTION] if cfg.skills else cfg.max_health
    body = np.array((health, cfg.max_food, cfg.max_water))
    config = (
        cfg.births, cfg.spawn == "anywhere", ring(cfg, torch.device("cpu")).numpy(), cfg.birthplaces,
        cfg.border, body, cfg.population_size,
    )  # fmt: skip
    return world.seed.numpy(), int(world.tick), arrays_of(_SPAWN_FIELDS, world), config


def goods(world: World) -> tuple[Any, ...]:
    """Arguments of ``_equip``, except the realm."""
    experience, levels = np.array(birth_experience(), np.int32), np.array(birth_levels(), np.uint8)
    return arrays_of(_EQUIP_FIELDS, world), (experience, levels, world.config.birth_gold)


def spawning(world: World) -> None:
    """See ``nmmo_gpu.world.spawning.spawning``."""
    fixed = arguments(world)
    pieces = realm_slices(world.realms)
    if world.config.extended:
        equipment = goods(world)
        parallel(_spawning_of_the_equipped, [(fixed, equipment, *piece) for piece in pieces])
    else:
        parallel(_spawning, [(*fixed, *piece) for piece in pieces])
