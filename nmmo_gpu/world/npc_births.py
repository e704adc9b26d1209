"""Births of NPCs: empty slots are filled, each on a random free tile where its kind lives."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content.tables import tensor
from nmmo_gpu.world.npcs import chance, habitats, kind_of_slot
from nmmo_gpu.world.random import Stream, below, draw
from nmmo_gpu.world.spawning import inland, winners
from nmmo_gpu.world.state import World

CANDIDATES = 12
"""Tiles that an NPC tries in a tick. They use the words of three draws and one word of a fourth; the first
word of the first draw decides whether the NPC tries at all."""


def npc_births(world: World) -> None:
    """Spawns NPCs in empty slots, after the agents of this tick.

    Each empty slot tries with the probability ``npc_births``, on the first of ``CANDIDATES`` random tiles,
    from the ring inwards, that is free and of its habitat. If none is, the slot stays empty. If several chose
    the same tile, the one of highest rank spawns; the order of ranks is drawn for a whole realm. The draw is
    uniform between any two; among three or more that choose one tile, which is rare, chances depend on their
    slots.
    """
    cfg = world.config
    agents = cfg.slots
    realm, npc = (~world.alive[:, agents:]).nonzero().unbind(1)
    slot = npc + agents
    words = draw(world.seed, world.tick, Stream.NPC_BIRTH, realm, 8 * slot)
    tries = (words[0] >> 16 < chance(cfg.npc_births)).nonzero().squeeze(1)
    realm, npc, slot = realm[tries], npc[tries], slot[tries]
    if not slot.numel():
        return

    kind = kind_of_slot(cfg, world.device)[slot]
    within = _candidates(world, realm, slot)
    tile = within + realm[:, None] * (cfg.height * cfg.width)
    ground = world.material.view(-1)[tile]
    fit = (habitats(world, kind)[:, None] >> ground & 1 == 1) & (world.occupant.view(-1)[tile] == 0)
    # Distinct integers: argmax guarantees the first of equal values neither for bool nor on every device.
    order = torch.arange(CANDIDATES, 0, -1, device=world.device, dtype=torch.int64)
    first = (fit * order).argmax(1)
    placed = fit.any(1).nonzero().squeeze(1)
    realm, npc, slot, kind, first = realm[placed], npc[placed], slot[placed], kind[placed], first[placed]
    within, tile = within[placed, first], tile[placed, first]

    # All ranks are different: exclusive or with a number only permutes the indices.
    all_realms = torch.arange(world.realms, device=world.device, dtype=torch.int64)
    mix = draw(world.seed, world.tick, Stream.BIRTH_ORDER, all_realms, torch.zeros_like(all_realms))[0]
    wins = winners(tile, -(npc ^ (mix[realm] & order_mask(cfg))))
    realm, npc, slot, kind, within = realm[wins], npc[wins], slot[wins], kind[wins], within[wins]

    born = torch.zeros_like(world.alive)
    born[realm, slot] = True
    rank = born.cumsum(1) - 1
    world.entity.copy_(torch.where(born, rank + world.next_entity[:, None], world.entity))
    world.next_entity += born.sum(1)

    row, col = within // cfg.width, within % cfg.width
    world.alive[realm, slot] = True
    world.row[realm, slot], world.col[realm, slot] = row.int(), col.int()
    health = tensor(tuple(row.health for row in cfg.tables.npcs), world.device, torch.int16)
    world.health[realm, slot] = health[kind]
    for plane in (world.food, world.water, world.freeze, world.heading, world.age, world.damage):
        plane[realm, slot] = 0
    world.aggro_target[realm, npc] = -1
    world.aggro_entity[realm, npc] = -1
    world.aggro_ticks[realm, npc] = 0
    world.occupant[realm, row, col] = (slot + 1).int()
    world.presence[realm, row, col] = (cfg.populations + 1 + kind).to(torch.uint8)


def order_mask(config: WorldConfig) -> int:
    """All ones, with as many bits as the index of an NPC in its realm needs; at least one."""
    return (1 << max(1, (config.npc_slots - 1).bit_length())) - 1


def _candidates(world: World, realm: Tensor, slot: Tensor) -> Tensor:
    """[n, CANDIDATES] int64: candidate tiles (row * width + column) of each slot, in order."""
    cfg = world.config
    draws = -(-(CANDIDATES + 1) // 4)
    words = [
        word
        for number in range(draws)
        for word in draw(world.seed, world.tick, Stream.NPC_BIRTH, realm, 8 * slot + number)
    ]
    return inland(cfg, below(torch.stack(words[1 : CANDIDATES + 1], 1), cfg.inland))
