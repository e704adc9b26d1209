"""Spawning: newborns on the grass ring, or anywhere inside it."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from nmmo_gpu.config import ALL_FREE_SLOTS, WorldConfig
from nmmo_gpu.world.random import Stream, below, draw
from nmmo_gpu.world.state import World
from nmmo_gpu.world.terrain import ring_tiles, safe_table


@cache
def _ring(height: int, width: int, border: int, device: torch.device) -> Tensor:
    return ring_tiles(height, width, border).to(device)


def ring(config: WorldConfig, device: torch.device) -> Tensor:
    """[n] int64: tiles (row * width + column) of the ring, clockwise; made once."""
    return _ring(config.height, config.width, config.border, device)


def birthplace(config: WorldConfig, spot: Tensor) -> Tensor:
    """Tiles (row * width + column) from numbers of birthplaces, 0 to ``config.birthplaces`` - 1; int64.

    The ring is looked up in a table; the inside of a map, which may have 67 million tiles, is computed."""
    if config.spawn == "ring":
        return ring(config, spot.device)[spot]
    columns = config.width - 2 * config.border
    return (config.border + spot // columns) * config.width + config.border + spot % columns


def spawning(world: World) -> None:
    """Lets up to ``births`` agents per realm be born, each on a place drawn from those that ``spawn`` names.

    Which free slots are tried is drawn: a run of the free slots in cyclic order from a random first one,
    so every slot, and with it every population, has the same chance. Whoever draws a tile that is taken, or
    that cannot be stood on safely, is not born this tick; of several who draw the same tile, one is.
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
    where, priority, _, _ = draw(world.seed, world.tick, Stream.SPAWN_TILE, realm, slot % cfg.slots)
    within = birthplace(cfg, below(where, cfg.birthplaces))
    tile = within + realm * (cfg.height * cfg.width)
    fit = world.occupant.view(-1)[tile] == 0
    if cfg.spawn == "anywhere":  # the ring is grass
        fit &= safe_table(world.device)[world.material.view(-1)[tile].long()]
    chosen = fit.nonzero().squeeze(1)
    slot, tile, within, priority = slot[chosen], tile[chosen], within[chosen], priority[chosen]
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
