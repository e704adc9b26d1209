"""Spawning as compiled loops; twin of ``nmmo_gpu.world.spawning``."""

from collections import namedtuple
from typing import Any

import numpy as np
import torch

from nmmo_gpu.config import ALL_FREE_SLOTS
from nmmo_gpu.content import CONSTITUTION
from nmmo_gpu.cpu.compile import arrays_of, compiled, fields_of
from nmmo_gpu.cpu.random import below, draw
from nmmo_gpu.cpu.threads import parallel, realm_slices
from nmmo_gpu.world.events import Flow
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.spawning import birth_experience, birth_levels, ring
from nmmo_gpu.world.state import World
from nmmo_gpu.world.terrain import safe_table

_SpawnFields = namedtuple(
    "_SpawnFields",
    "seed tick alive entity row col health food water freeze heading age damage explored visited material "
    "occupant presence next_entity",
)
_SpawnConfig = namedtuple(
    "_SpawnConfig",
    "births anywhere birthplaces border birth_health max_food max_water population_size",
)
_Tries = namedtuple("_Tries", "slot tile priority")
"""Of each try in a realm: the free slot, the tile that it drew, and a random word for ties."""
_GoodsFields = namedtuple(
    "_GoodsFields",
    "entity next_entity xp level gold inventory worn offer offer_price offer_left token events ledger",
)
_Birth = namedtuple("_Birth", "xp level gold")
"""Experience and levels ([skills]) and gold of a new agent."""

SLOT_STREAM, TILE_STREAM = int(Stream.SPAWN_SLOT), int(Stream.SPAWN_TILE)
SAFE = safe_table().numpy()
INITIAL = int(Flow.INITIAL)


@compiled(inline="always")
def inland(spot, border, width):
    """Tile within the realm from its index among the tiles from the ring inwards."""
    columns = width - 2 * border
    return (border + spot // columns) * width + border + spot % columns


@compiled(inline="always")
def _claim(world, tries, ring, config, r, first, free):
    """Draws the tiles on which agents may be born in realm ``r``; returns their number.

    A free tile that was drawn then holds -1 - i among the occupants, where i is the index of the try that
    wins it. This avoids a list of places, of which there can be 67 million."""
    ground, stands = world.material[r].reshape(-1), world.occupant[r].reshape(-1)
    count = 0
    rank = 0
    for a in range(world.explored.shape[1]):
        if world.alive[r, a]:
            continue
        place = rank - first if rank >= first else rank - first + free
        rank += 1
        if config.births != ALL_FREE_SLOTS and place >= config.births:
            continue
        where, order, _, _ = draw(world, TILE_STREAM, r, a)
        spot = below(where, config.birthplaces)
        if config.anywhere:
            at = inland(spot, config.border, world.material.shape[2])
            if not SAFE[ground[at]]:
                continue
        else:
            at = ring[spot]
        holds = stands[at]
        if holds > 0:
            continue
        tries.slot[count] = a
        tries.tile[count] = at
        tries.priority[count] = order
        # The lowest priority on a tile wins; the earlier slot if they are equal.
        if holds == 0 or order < tries.priority[-1 - holds]:
            stands[at] = -1 - count
        count += 1
    return count


@compiled(inline="always")
def _settle(world, config, r, a, y, x):
    """Birth of an agent in slot ``a`` of realm ``r``."""
    world.entity[r, a] = world.next_entity[r]
    world.next_entity[r] += 1
    world.alive[r, a] = True
    world.row[r, a] = y
    world.col[r, a] = x
    world.health[r, a] = config.birth_health
    world.food[r, a] = config.max_food
    world.water[r, a] = config.max_water
    world.freeze[r, a] = 0
    world.heading[r, a] = 0
    world.age[r, a] = 0
    world.damage[r, a] = 0
    world.explored[r, a] = 0
    world.visited[r, a, :] = 0
    world.occupant[r, y, x] = a + 1
    world.presence[r, y, x] = a // config.population_size + 1


@compiled
def _spawning(world, ring, config, low, high):
    if config.births == 0:
        return
    slots = world.explored.shape[1]
    width = world.occupant.shape[2]
    for r in range(low, high):
        free = 0
        for a in range(slots):
            free += not world.alive[r, a]
        if free == 0:
            continue
        first = 0
        most = free
        if config.births != ALL_FREE_SLOTS:
            word = draw(world, SLOT_STREAM, r, 0)[0]
            first = below(word, free)
            most = min(free, config.births)
        tries = _Tries(np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.uint64))
        count = _claim(world, tries, ring, config, r, first, free)
        stands = world.occupant[r].reshape(-1)
        for i in range(count):
            at = tries.tile[i]
            if stands[at] == -1 - i:
                _settle(world, config, r, tries.slot[i], at // width, at % width)


@compiled
def _equip(world, birth, r, first):
    """Gives new agents of realm ``r``, with ids from ``first`` on, their initial state of the full game."""
    if world.next_entity[r] == first:
        return
    for a in range(world.gold.shape[1]):
        if world.entity[r, a] < first:
            continue
        world.xp[r, a, :] = birth.xp
        world.level[r, a, :] = birth.level
        world.gold[r, a] = birth.gold
        world.ledger[r, world.ledger.shape[1] - 1, INITIAL] += birth.gold
        world.inventory[r, a, :] = 0
        world.worn[r, a, :] = 0
        world.offer[r, a] = 0
        world.offer_price[r, a] = 0
        world.offer_left[r, a] = 0
        world.token[r, a] = 0
        world.events[r, a, :] = 0


@compiled
def _spawning_of_the_equipped(spawn, goods, birth, low, high):
    for r in range(low, high):
        first = goods.next_entity[r]
        _spawning(*spawn, r, r + 1)
        _equip(goods, birth, r, first)


def arguments(world: World) -> tuple[Any, ...]:
    """Arguments of ``_spawning``, except the range of realms."""
    cfg = world.config
    health = birth_levels()[CONSTITUTION] if cfg.skills else cfg.max_health
    config = fields_of(_SpawnConfig, cfg, anywhere=cfg.spawn == "anywhere", birth_health=health)
    return arrays_of(_SpawnFields, world), ring(cfg, torch.device("cpu")).numpy(), config


def goods(world: World) -> tuple[Any, ...]:
    """Arguments of ``_equip``, except the realm."""
    levels, experience = np.array(birth_levels(), np.uint8), np.array(birth_experience(), np.int32)
    return arrays_of(_GoodsFields, world), _Birth(experience, levels, world.config.birth_gold)


def spawning(world: World) -> None:
    """See ``nmmo_gpu.world.spawning.spawning``."""
    fixed = arguments(world)
    pieces = realm_slices(world.realms)
    if world.config.extended:
        equipment = goods(world)
        parallel(_spawning_of_the_equipped, [(fixed, *equipment, *piece) for piece in pieces])
    else:
        parallel(_spawning, [(*fixed, *piece) for piece in pieces])
