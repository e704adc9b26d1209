"""Loot: distributes the goods of dead agents and NPCs."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.exchange import refund
from nmmo_gpu.world.inventory import room, weights
from nmmo_gpu.world.npcs import kind_of_slot
from nmmo_gpu.world.random import Stream, below, draw
from nmmo_gpu.world.state import Cause, World

DROPS = 64
"""Draws reserved for each NPC's drops."""
CHANCE_SHIFT = 16
"""A word's upper 16 bits are compared with a chance."""


def loot(world: World) -> None:
    """Gives the goods of agents that die this tick (``cause``) to their killers, and counts the kills.

    The killer of an agent that died in combat is its top_attacker, if that is an agent and does not die
    itself. It takes all gold, and items in the order of their index as long as they fit. The rest is lost.
    NPCs drop items only for a killer. No agent kills two entities in a tick, because each has one attack."""
    cfg = world.config
    realm, slot = world.cause.nonzero().unbind(1)
    killer = world.top_attacker[realm, slot].long()
    killer[world.cause[realm, slot] != Cause.COMBAT] = -1
    killer[killer >= cfg.slots] = -1
    survives = (world.cause == 0) & world.alive
    killer[~survives[realm, killer.clamp(min=0)]] = -1

    refund(world, world.agents(world.cause) != 0)
    agent, npc = slot < cfg.slots, slot >= cfg.slots
    _inherit(world, realm[agent], slot[agent], killer[agent])
    if cfg.npc_slots:
        _collect(world, realm[npc], slot[npc], killer[npc])


def _inherit(world: World, realm: Tensor, slot: Tensor, killer: Tensor) -> None:
    """Goods of dead agents ([k] int64 each; killer -1 for none) pass to their killers, or are lost."""
    goods, gold = world.inventory[realm, slot], world.gold[realm, slot]
    world.inventory[realm, slot] = 0
    world.gold[realm, slot] = 0
    heir = (killer >= 0).nonzero().squeeze(1)
    in_realm, to = realm[heir], killer[heir]

    # Only items with a weight need space; items earlier in the order have used theirs already.
    heavy = weights(world) * goods[heir]
    left = room(world)[in_realm, to][:, None] - (heavy.cumsum(1, dtype=torch.int32) - heavy)
    taken = torch.where(weights(world) > 0, torch.minimum(left.clamp(min=0), goods[heir]), goods[heir])
    world.inventory[in_realm, to] += taken
    world.gold[in_realm, to] += gold[heir]
    world.events[in_realm, to, Event.AGENTS_KILLED] += 1

    goods[heir] -= taken
    gold[heir] = 0
    lost = torch.cat((goods.long(), gold[:, None]), 1)
    world.ledger[..., Flow.LOST] += torch.zeros_like(world.ledger[..., 0]).index_add_(0, realm, lost)
    world.dead_totals.index_add_(0, realm, world.events[realm, slot].long())


def _collect(world: World, realm: Tensor, slot: Tensor, killer: Tensor) -> None:
    """Counts dead NPCs, resets their aggression, and gives their drops to their killers."""
    cfg = world.config
    kind, number = kind_of_slot(cfg, world.device)[slot], slot - cfg.slots
    world.npc_kills.index_put_((realm, kind), torch.ones_like(kind), accumulate=True)
    world.aggro_target[realm, number] = -1
    world.aggro_entity[realm, number] = -1
    world.aggro_ticks[realm, number] = 0

    won = (killer >= 0).nonzero().squeeze(1)
    realm, slot, killer, kind = realm[won], slot[won], killer[won], kind[won]
    world.events[realm, killer, len(Event) + kind] += 1
    space = room(world)
    for k, row in enumerate(cfg.tables.npcs):
        mine = (kind == k).nonzero().squeeze(1)
        for place, drop in enumerate(row.drops):
            _drop(world, space, realm[mine], slot[mine], killer[mine], place, drop)


def _drop(
    world: World, space: Tensor, realm: Tensor, slot: Tensor, killer: Tensor, place: int,
    drop: tuple[int, int, int, int],
) -> None:  # fmt: skip
    """Draws one of the drops of NPCs of a kind; killers take as much as fits into ``space`` ([R, A] int32),
    which is reduced."""
    tables = world.config.tables
    item, minimum, maximum, chance = drop
    happens, many, _, _ = draw(world.seed, world.tick, Stream.DROP, realm, DROPS * slot + place)
    amount = minimum + below(many, maximum - minimum + 1)
    amount = torch.where(happens >> CHANCE_SHIFT < chance, amount, 0)
    if item == tables.gold:
        world.gold[realm, killer] += amount
    else:
        if tables.weight[item]:
            amount = torch.minimum(amount, space[realm, killer].clamp(min=0))
            space[realm, killer] -= amount.int()
        world.inventory[realm, killer, item] += amount.int()
    world.ledger[:, item, Flow.DROPPED].index_add_(0, realm, amount)
