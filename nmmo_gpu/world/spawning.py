"""Spawning: newborns on the grass ring."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from nmmo_gpu.config import ALL_FREE_SLOTS
from nmmo_gpu.world.random import Stream, below, draw
from nmmo_gpu.world.state import World
from nmmo_gpu.world.terrain import ring_tiles


@cache
def _ring(height: int, width: int, border: int, device: torch.device) -> Tensor:
    return ring_tiles(height, width, border).to(device)


def spawning(world: World) -> None:
    """Lets up to ``births`` agents per realm be born, each on a random tile of the ring.

    Which free slots are tried is drawn: a run of the free slots in cyclic order from a random first one,
    so every slot, and with it every population, has the same chance. Whoever draws a taken tile is not
    born this tick; of several who draw the same free tile, one is.
    """
    cfg = world.config
    if cfg.births == 0:
        return
    free = ~world.alive
    if cfg.births == ALL_FREE_SLOTS:
        tried = free
    else:
        count = free.sum(1, dtype=torch.int64)
        realms = torch.arange(world.realms, device=world.device)
        word = draw(world.seed, world.tick, Stream.SPAWN_SLOT, realms, torch.zeros_like(realms))[0]
        first = below(word, count)[:, None]
        rank = free.cumsum(1) - 1
        place = torch.where(rank >= first, rank - first, rank - first + count[:, None])
        tried = free & (place < cfg.births)
    slot = tried.view(-1).nonzero().squeeze(1)
    if not slot.numel():
        return

    realm = slot // cfg.slots
    ring = _ring(cfg.height, cfg.width, cfg.border, world.device)
    where, priority, _, _ = draw(world.seed, world.tick, Stream.SPAWN_TILE, realm, slot % cfg.slots)
    within = ring[below(where, len(ring))]
    tile = within + realm * (cfg.height * cfg.width)
    empty = (world.occupant.view(-1)[tile] == 0).nonzero().squeeze(1)
    slot, tile, within, priority = slot[empty], tile[empty], within[empty], priority[empty]
    first_come = _winners(tile, (priority << 31) | (slot % cfg.slots))
    slot, tile, within = slot[first_come], tile[first_come], within[first_come]

    # Ids in slot order within a realm: the rank among this tick's newborn, behind those born before.
    born = torch.zeros_like(world.alive)
    born.view(-1)[slot] = True
    rank = born.cumsum(1) - 1
    world.entity.copy_(torch.where(born, rank + world.next_entity[:, None], world.entity))
    world.next_entity += born.sum(1)

    world.alive.view(-1)[slot] = True
    world.row.view(-1)[slot] = (within // cfg.width).int()
    world.col.view(-1)[slot] = (within % cfg.width).int()
    world.health.view(-1)[slot] = cfg.max_health
    world.food.view(-1)[slot] = cfg.max_food
    world.water.view(-1)[slot] = cfg.max_water
    for plane in (world.freeze, world.heading, world.age, world.damage, world.explored):
        plane.view(-1)[slot] = 0
    world.visited.view(-1, world.visited.shape[-1])[slot] = 0
    number = slot % cfg.slots
    world.occupant.view(-1)[tile] = (number + 1).int()
    world.presence.view(-1)[tile] = (number // cfg.population_size + 1).to(torch.uint8)


def _winners(tile: Tensor, key: Tensor) -> Tensor:
    """Indices ([m] int64, ascending) of the one with the lowest key for each different tile.

    Keys end in the slot number, so no two are equal."""
    if tile.numel() < 2:
        return torch.arange(tile.numel(), device=tile.device)
    group = torch.unique(tile, return_inverse=True)[1]
    best = torch.full_like(key, torch.iinfo(key.dtype).max).scatter_reduce_(0, group, key, "amin")
    return (best[group] == key).nonzero().squeeze(1)
