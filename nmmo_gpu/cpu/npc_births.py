"""Births of NPCs as compiled loops; twin of ``nmmo_gpu.world.npc_births``."""

from collections import namedtuple
from typing import Any

import numpy as np

from nmmo_gpu.cpu.compile import arrays_of, compiled, fields_of
from nmmo_gpu.cpu.npcs import HABITAT, HEALTH, habits, kinds
from nmmo_gpu.cpu.random import below, draw
from nmmo_gpu.cpu.spawning import inland
from nmmo_gpu.cpu.threads import parallel, realm_slices
from nmmo_gpu.world import npc_births as rule
from nmmo_gpu.world.npc_births import order_mask
from nmmo_gpu.world.npcs import chance
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import World

_BirthFields = namedtuple(
    "_BirthFields",
    "seed tick alive entity row col health food water freeze heading age damage aggro_target aggro_entity "
    "aggro_ticks material occupant presence next_entity",
)
_BirthConfig = namedtuple("_BirthConfig", "slots npc_births border inland order_mask populations")
"""``npc_births``: as a threshold of 16-bit words; ``order_mask``: see ``nmmo_gpu.world.npc_births``."""
_BirthTables = namedtuple("_BirthTables", "kinds habits")
"""See ``nmmo_gpu.cpu.npcs``."""

BIRTH_STREAM, ORDER_STREAM = int(Stream.NPC_BIRTH), int(Stream.BIRTH_ORDER)
CANDIDATES = rule.CANDIDATES
SIXTEEN = np.uint64(16)


@compiled(inline="always")
def _claim(world, tables, config, r, a, order, stands):
    """The tile that NPC slot ``a`` claims; -1 for none. ``stands``: the realm's occupants; its plane holds
    -1 - rank of the current winner on a free tile that was claimed."""
    words = draw(world, BIRTH_STREAM, r, 8 * a)
    if np.int64(words[0] >> SIXTEEN) >= config.npc_births:
        return -1
    ground = world.material[r].reshape(-1)
    width = world.material.shape[2]
    home = tables.habits[tables.kinds[a], HABITAT]
    for candidate in range(1, CANDIDATES + 1):
        part = candidate % 4
        if part == 0:
            words = draw(world, BIRTH_STREAM, r, 8 * a + candidate // 4)
        at = inland(below(words[part], config.inland), config.border, width)
        if home >> ground[at] & 1 and stands[at] <= 0:
            rank = (a - config.slots) ^ order
            stands[at] = min(stands[at], -1 - rank)
            return at
    return -1


@compiled(inline="always")
def _settle(world, tables, config, r, a, at):
    """Birth of an NPC in slot ``a`` on tile ``at`` of the realm."""
    width = world.occupant.shape[2]
    n, kind = a - config.slots, tables.kinds[a]
    world.alive[r, a] = True
    world.entity[r, a] = world.next_entity[r]
    world.next_entity[r] += 1
    world.row[r, a] = at // width
    world.col[r, a] = at % width
    world.health[r, a] = tables.habits[kind, HEALTH]
    world.food[r, a] = 0
    world.water[r, a] = 0
    world.freeze[r, a] = 0
    world.heading[r, a] = 0
    world.age[r, a] = 0
    world.damage[r, a] = 0
    world.aggro_target[r, n] = -1
    world.aggro_entity[r, n] = -1
    world.aggro_ticks[r, n] = 0
    world.occupant[r, at // width, at % width] = a + 1
    world.presence[r, at // width, at % width] = config.populations + 1 + kind


@compiled
def _npc_births(world, tables, config, low, high):
    slots = world.alive.shape[1]
    tried = np.empty(slots, np.int64)
    tile = np.empty(slots, np.int64)
    for r in range(low, high):
        stands = world.occupant[r].reshape(-1)
        order = np.int64(draw(world, ORDER_STREAM, r, 0)[0]) & config.order_mask
        count = 0
        for a in range(config.slots, slots):
            if not world.alive[r, a]:
                at = _claim(world, tables, config, r, a, order, stands)
                if at >= 0:
                    tried[count] = a
                    tile[count] = at
                    count += 1
        for i in range(count):
            a, at = tried[i], tile[i]
            if stands[at] == -1 - ((a - config.slots) ^ order):
                _settle(world, tables, config, r, a, at)


def arguments(world: World) -> tuple[Any, ...]:
    """Arguments of ``_npc_births``, except the range of realms."""
    cfg = world.config
    tables = _BirthTables(kinds(cfg), habits(cfg.tables.npcs))
    config = fields_of(_BirthConfig, cfg, npc_births=chance(cfg.npc_births), order_mask=order_mask(cfg))
    return arrays_of(_BirthFields, world), tables, config


def npc_births(world: World) -> None:
    """See ``nmmo_gpu.world.npc_births.npc_births``."""
    fixed = arguments(world)
    parallel(_npc_births, [(*fixed, *piece) for piece in realm_slices(world.realms)])
