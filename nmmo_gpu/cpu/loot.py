"""Loot as compiled loops; twin of ``nmmo_gpu.world.loot``."""

from collections import namedtuple
from functools import cache
from typing import Any

import numpy as np
import torch

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.cpu.compile import arrays_of, compiled
from nmmo_gpu.cpu.exchange import goods, refund
from nmmo_gpu.cpu.inventory import room
from nmmo_gpu.cpu.random import below, draw
from nmmo_gpu.cpu.threads import parallel, realm_slices
from nmmo_gpu.world import loot as rule
from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.npcs import kind_of_slot
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import Cause, World

_LootFields = namedtuple(
    "_LootFields",
    "seed tick alive cause top_attacker inventory gold offer offer_price offer_left events dead_totals "
    "ledger npc_kills aggro_target aggro_entity aggro_ticks",
)
_LootTables = namedtuple("_LootTables", "lot weight prices kind_of drops first")
"""``nmmo_gpu.cpu.exchange.Goods``; the kind of each slot; [n, 4], kind by kind, item, least, most and chance
of each drop; and where the drops of each kind begin, and end."""

COMBAT, STREAM = int(Cause.COMBAT), int(Stream.DROP)
AGENTS_KILLED, EVENTS = int(Event.AGENTS_KILLED), len(Event)
DROPPED, LOST = int(Flow.DROPPED), int(Flow.LOST)
DROPS, CHANCE_SHIFT = rule.DROPS, np.uint64(rule.CHANCE_SHIFT)
CPU = torch.device("cpu")


@compiled(inline="always")
def _killer(world, r, s):
    """The agent that killed the entity in slot ``s`` and lives; -1 if there is none."""
    if world.cause[r, s] != COMBAT:
        return -1
    killer = np.int64(world.top_attacker[r, s])
    if killer >= world.gold.shape[1]:
        return -1
    if killer >= 0 and (world.cause[r, killer] != 0 or not world.alive[r, killer]):
        return -1
    return killer


@compiled(inline="always")
def _leave(world, tables, r, s, killer, space):
    """What dead agent ``s`` leaves to its killer, who has room for ``space`` units; the rest is lost."""
    items = len(tables.weight)
    refund(world, tables, r, s)
    if killer >= 0:
        world.gold[r, killer] += world.gold[r, s]
        world.events[r, killer, AGENTS_KILLED] += 1
    else:
        world.ledger[r, items, LOST] += world.gold[r, s]
    world.gold[r, s] = 0
    for i in range(items):
        have = world.inventory[r, s, i]
        if have == 0:
            continue
        taken = np.int64(0)
        if killer >= 0:
            taken = np.int64(have)
            if tables.weight[i]:
                taken = min(taken, space)
                space -= taken
            world.inventory[r, killer, i] += taken
        world.ledger[r, i, LOST] += have - taken
        world.inventory[r, s, i] = 0
    for e in range(world.events.shape[2]):
        world.dead_totals[r, e] += world.events[r, s, e]


@compiled(inline="always")
def _drop(world, tables, r, s, killer, space):
    """What the NPC in slot ``s`` drops to its killer, who has room for ``space`` units."""
    items = len(tables.weight)
    kind = tables.kind_of[s]
    first = tables.first[kind]
    for d in range(first, tables.first[kind + 1]):
        item, least, most, chance = tables.drops[d]
        happens, many, _, _ = draw(world, STREAM, r, DROPS * s + d - first)
        if np.int64(happens >> CHANCE_SHIFT) >= chance:
            continue
        amount = least + below(many, most - least + 1)
        if item == items:
            world.gold[r, killer] += amount
        else:
            if tables.weight[item]:
                amount = min(amount, space)
                space -= amount
            world.inventory[r, killer, item] += amount
        world.ledger[r, item, DROPPED] += amount


@compiled
def _loot(world, tables, capacity, low, high):
    agents = world.gold.shape[1]
    for r in range(low, high):
        for s in range(world.alive.shape[1]):
            if world.cause[r, s] == 0:
                continue
            killer = _killer(world, r, s)
            space = np.int64(0)
            if killer >= 0:
                space = np.int64(max(room(world, tables.weight, capacity, r, killer), 0))
            if s < agents:
                _leave(world, tables, r, s, killer, space)
                continue
            kind, n = tables.kind_of[s], s - agents
            world.npc_kills[r, kind] += 1
            world.aggro_target[r, n] = -1
            world.aggro_entity[r, n] = -1
            world.aggro_ticks[r, n] = 0
            if killer >= 0:
                world.events[r, killer, EVENTS + kind] += 1
                _drop(world, tables, r, s, killer, space)


@cache
def _tables(config: WorldConfig) -> _LootTables:
    kinds = config.tables.npcs
    rows = [drop for kind in kinds for drop in kind.drops]
    first = np.cumsum([0, *(len(kind.drops) for kind in kinds)])
    drops, kind_of = np.array(rows, np.int64).reshape(-1, 4), kind_of_slot(config, CPU).numpy()
    return _LootTables(*goods(config.tables), kind_of, drops, first)


def arguments(world: World) -> tuple[Any, ...]:
    """Arguments of ``_loot``, except the range of realms."""
    return arrays_of(_LootFields, world), _tables(world.config), world.config.capacity


def loot(world: World) -> None:
    """See ``nmmo_gpu.world.loot.loot``."""
    fixed = arguments(world)
    parallel(_loot, [(*fixed, *piece) for piece in realm_slices(world.realms)])
