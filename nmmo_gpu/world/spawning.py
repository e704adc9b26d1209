"""Spawning: new agents on the grass ring, or anywhere inside it."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from nmmo_gpu.config import ALL_FREE_SLOTS, WorldConfig
from nmmo_gpu.content import CONSTITUTION, SKILLS
from nmmo_gpu.content.tables import experience_table, tensor
from nmmo_gpu.world.events import Flow
from nmmo_gpu.world.random import Stream, below, draw
from nmmo_gpu.world.state import World
from nmmo_gpu.world.terrain import ring_tiles, safe_table

BIRTH_CONSTITUTION = 10
"""Initial level in constitution; in all other skills it is 1."""


@cache
def _ring(height: int, width: int, border: int, device: torch.device) -> Tensor:
    return ring_tiles(height, width, border).to(device)


def ring(config: WorldConfig, device: torch.device) -> Tensor:
    """[n] int64: tiles (row * width + column) of the ring, clockwise; cached."""
    return _ring(config.height, config.width, config.border, device)


def birthplace(config: WorldConfig, spot: Tensor) -> Tensor:
    """Tiles (row * width + column) from indices of birthplaces, 0 to ``config.birthplaces`` - 1; int64."""
    return ring(config, spot.device)[spot] if config.spawn == "ring" else inland(config, spot)


def inland(config: WorldConfig, spot: Tensor) -> Tensor:
    """Tiles (row * width + column) from indices of the tiles from the ring inwards, 0 to ``config.inland`` -
    1; int64. Computed, not looked up, because there can be 67 million."""
    columns = config.width - 2 * config.border
    return (config.border + spot // columns) * config.width + config.border + spot % columns


def spawning(world: World) -> None:
    """Spawns up to ``births`` agents per realm, each on a tile drawn from those that ``spawn`` allows.

    The free slots to try are drawn: a run of the free slots in cyclic order from a random first one.
    Therefore every slot, and so every population, has the same chance. A try fails if its tile is occupied or
    not safe. If several tries draw the same tile, one succeeds.
    """
    cfg = world.config
    if cfg.births == 0:
        return
    free = ~world.agents(world.alive)
    if cfg.births == ALL_FREE_SLOTS:
        tried = free
    else:
        count = free.sum(1, dtype=torch.int64)
        realms = torch.arange(world.realms, device=world.device, dtype=torch.int64)
        word = draw(world.seed, world.tick, Stream.SPAWN_SLOT, realms, torch.zeros_like(realms))[0]
        first = below(word, count)[:, None]
        rank = free.cumsum(1) - 1
        place = torch.where(rank >= first, rank - first, rank - first + count[:, None])
        tried = free & (place < cfg.births)
    realm, slot = tried.nonzero().unbind(1)
    if not slot.numel():
        return

    where, priority, _, _ = draw(world.seed, world.tick, Stream.SPAWN_TILE, realm, slot)
    within = birthplace(cfg, below(where, cfg.birthplaces))
    tile = within + realm * (cfg.height * cfg.width)
    fit = world.occupant.view(-1)[tile] == 0
    if cfg.spawn == "anywhere":  # the ring is grass
        fit &= safe_table(world.device)[world.material.view(-1)[tile].long()]
    chosen = fit.nonzero().squeeze(1)
    realm, slot, tile = realm[chosen], slot[chosen], tile[chosen]
    first_come = winners(tile, (priority[chosen] << 31) | slot)
    realm, slot, tile = realm[first_come], slot[first_come], tile[first_come]
    settle(world, realm, slot, tile % (cfg.height * cfg.width))


def settle(world: World, realm: Tensor, slot: Tensor, within: Tensor) -> None:
    """Spawns agents in free slots, on free tiles.

    Args:
        realm: [n] int64.
        slot: [n] int64; no pair of realm and slot occurs twice.
        within: [n] int64, tiles of their realm (row * width + column).
    """
    cfg = world.config
    tile = within + realm * (cfg.height * cfg.width)

    # Ids in slot order within a realm: the rank among this tick's new agents, after all earlier ones.
    born = torch.zeros_like(world.alive)
    born[realm, slot] = True
    rank = born.cumsum(1) - 1
    world.entity.copy_(torch.where(born, rank + world.next_entity[:, None], world.entity))
    world.next_entity += born.sum(1)

    world.alive[realm, slot] = True
    world.row[realm, slot] = (within // cfg.width).int()
    world.col[realm, slot] = (within % cfg.width).int()
    world.health[realm, slot] = birth_levels()[CONSTITUTION] if cfg.skills else cfg.max_health
    world.food[realm, slot] = cfg.max_food
    world.water[realm, slot] = cfg.max_water
    for plane in (world.freeze, world.heading, world.age, world.damage, world.explored, world.visited):
        plane[realm, slot] = 0
    world.occupant.view(-1)[tile] = (slot + 1).int()
    world.presence.view(-1)[tile] = (slot // cfg.population_size + 1).to(torch.uint8)
    if cfg.extended:
        _equip(world, realm, slot, born)


def birth_levels() -> tuple[int, ...]:
    """Initial levels, in the order of ``SKILLS``."""
    return tuple(BIRTH_CONSTITUTION if skill == CONSTITUTION else 1 for skill in range(len(SKILLS)))


def birth_experience() -> tuple[int, ...]:
    """Initial experience: just enough for the initial levels."""
    return tuple(experience_table()[level - 1] for level in birth_levels())


def _equip(world: World, realm: Tensor, slot: Tensor, born: Tensor) -> None:
    """Gives new agents their initial levels and goods of the full game."""
    cfg = world.config
    world.xp[realm, slot] = tensor(birth_experience(), world.device, torch.int32)
    world.level[realm, slot] = tensor(birth_levels(), world.device, torch.uint8)
    world.gold[realm, slot] = cfg.birth_gold
    for plane in (
        world.inventory, world.worn, world.offer, world.offer_price, world.offer_left, world.token,
        world.events,
    ):  # fmt: skip
        plane[realm, slot] = 0
    world.ledger[:, cfg.tables.gold, Flow.INITIAL] += born.sum(1) * cfg.birth_gold


def winners(tile: Tensor, key: Tensor) -> Tensor:
    """Indices ([m] int64, ascending) of the one with the lowest key for each different tile.

    No two keys of a tile may be equal."""
    if tile.numel() < 2:
        return torch.arange(tile.numel(), device=tile.device, dtype=torch.int64)
    group = torch.unique(tile, return_inverse=True)[1]
    best = torch.full_like(key, torch.iinfo(key.dtype).max).scatter_reduce_(0, group, key, "amin")
    return (best[group] == key).nonzero().squeeze(1)
