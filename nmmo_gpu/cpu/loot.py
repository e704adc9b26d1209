"""Loot as compiled loops; twin of ``nmmo_gpu.world.loot``."""

from functools import cache
from typing import Any

import numpy as np
import torch

from nmmo_gpu.content.tables import Tables
from nmmo_gpu.cpu.compile import arrays_of, compiled
from nmmo_gpu.cpu.exchange import numbers, refund
from nmmo_gpu.cpu.inventory import room
from nmmo_gpu.cpu.random import below, draw
from nmmo_gpu.cpu.threads import parallel, realm_slices
from nmmo_gpu.world import loot as rule
from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.npcs import kind_of_slot
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import Cause, World

_LOOT_FIELDS = (
    "alive cause top_attacker inventory gold offer offer_price offer_left events dead_totals ledger "
    "npc_kills aggro_target aggro_entity aggro_ticks"
)

COMBAT, STREAM = int(Cause.COMBAT), int(Stream.DROP)
AGENTS_KILLED, EVENTS = int(Event.AGENTS_KILLED), len(Event)
DROPPED, LOST = int(Flow.DROPPED), int(Flow.LOST)
DROPS, CHANCE_SHIFT = rule.DROPS, np.uint64(rule.CHANCE_SHIFT)
CPU = torch.device("cpu")


@compiled(allocates=False)
def _loot(seed, tick, world, tables, capacity, low, high):
    """Distributes the goods of dead entities of realms ``low`` to ``high``.

    ``tables``: kind of each slot; lots, weights and prices as in ``numbers``; drops ([n, 4], kind by kind:
    item, minimum, maximum, chance), of which those of kind k are rows ``first[k]`` to ``first[k + 1]``."""
    (
        alive, cause, top_attacker, inventory, gold, offer, offer_price, offer_left, events, dead_totals,
        ledger, npc_kills, aggro_target, aggro_entity, aggro_ticks
    ) = world  # fmt: skip
    kind_of, lots, weights, prices, drops, first = tables
    items = len(weights)
    agents = gold.shape[1]
    for r in range(low, high):
        for s in range(alive.shape[1]):
            death_cause = cause[r, s]
            if death_cause == 0:
                continue
            killer = np.int64(top_attacker[r, s]) if death_cause == COMBAT else -1
            if killer >= agents or (killer >= 0 and (cause[r, killer] != 0 or not alive[r, killer])):
                killer = -1
            space = np.int64(0)
            if killer >= 0:
                space = np.int64(max(room(inventory, offer, weights, capacity, r, killer), 0))
            if s < agents:
                refund(r, s, offer, offer_price, offer_left, inventory, gold, lots, prices)
                if killer >= 0:
                    gold[r, killer] += gold[r, s]
                    events[r, killer, AGENTS_KILLED] += 1
                else:
                    ledger[r, items, LOST] += gold[r, s]
                gold[r, s] = 0
                for i in range(items):
                    have = inventory[r, s, i]
                    if have == 0:
                        continue
                    taken = np.int64(0)
                    if killer >= 0:
                        taken = np.int64(have)
                        if weights[i]:
                            taken = min(taken, space)
                            space -= taken
                        inventory[r, killer, i] += taken
                    ledger[r, i, LOST] += have - taken
                    inventory[r, s, i] = 0
                for e in range(events.shape[2]):
                    dead_totals[r, e] += events[r, s, e]
                continue

            kind = kind_of[s]
            npc_kills[r, kind] += 1
            aggro_target[r, s - agents] = -1
            aggro_entity[r, s - agents] = -1
            aggro_ticks[r, s - agents] = 0
            if killer < 0:
                continue
            events[r, killer, EVENTS + kind] += 1
            for d in range(first[kind], first[kind + 1]):
                item, minimum, maximum, chance = drops[d]
                happens, many, _, _ = draw(seed, tick, STREAM, r, DROPS * s + d - first[kind])
                if np.int64(happens >> CHANCE_SHIFT) >= chance:
                    continue
                amount = minimum + below(many, maximum - minimum + 1)
                if item == items:
                    gold[r, killer] += amount
                else:
                    if weights[item]:
                        amount = min(amount, space)
                        space -= amount
                    inventory[r, killer, item] += amount
                ledger[r, item, DROPPED] += amount


@cache
def _look_ups(tables: Tables) -> tuple[Any, ...]:
    """Returns the tables of ``_loot``, except the kinds of the slots; cached."""
    rows = [drop for kind in tables.npcs for drop in kind.drops]
    first = np.cumsum([0, *(len(kind.drops) for kind in tables.npcs)])
    return (*numbers(tables), np.array(rows, np.int64).reshape(-1, 4), first)


def arguments(world: World) -> tuple[Any, ...]:
    """Arguments of ``_loot``, except the range of realms."""
    cfg = world.config
    tables = kind_of_slot(cfg, CPU).numpy(), *_look_ups(cfg.tables)
    return world.seed.numpy(), int(world.tick), arrays_of(_LOOT_FIELDS, world), tables, cfg.capacity


def loot(world: World) -> None:
    """See ``nmmo_gpu.world.loot.loot``."""
    fixed = arguments(world)
    parallel(_loot, [(*fixed, *piece) for piece in realm_slices(world.realms)])
