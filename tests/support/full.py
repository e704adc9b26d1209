"""Items, levels and NPCs for the random worlds of ``helpers``."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import GEAR, SKILLS
from nmmo_gpu.content.tables import experience_table
from nmmo_gpu.world.events import Flow
from nmmo_gpu.world.ledger import balance, holdings
from nmmo_gpu.world.state import World

GEAR_SKILL = tuple(SKILLS.index(name) for name in ("melee", "range", "defense"))
CONSTITUTION = SKILLS.index("constitution")


def kinds(config: WorldConfig) -> list[int]:
    """Returns the NPC kind of each slot, -1 for agents."""
    npcs = [kind for kind, count in enumerate(config.npc_counts) for _ in range(count)]
    return [-1] * config.slots + npcs


def level_of(xp: Tensor) -> Tensor:
    """Returns the levels for experience by table lookup."""
    needed = torch.tensor(experience_table())
    return (xp[..., None] >= needed).sum(-1).to(torch.uint8)


def worn_by(config: WorldConfig, inventory: list[int], level: list[int]) -> list[int]:
    """Returns the ranks of the gear that an agent wears, by a plain search."""
    ranks = []
    for kind in range(len(GEAR)):
        best = 0
        for rank, item in enumerate(config.tables.gear[kind], 1):
            if inventory[item] > 0 and level[GEAR_SKILL[kind]] >= config.content.items[item].level:
                best = rank
        ranks.append(best)
    return ranks


def units(config: WorldConfig, inventory: list[int], offer: int) -> int:
    """Returns the units that an inventory occupies, including the reservation of an open offer."""
    tables = config.tables
    held = sum(count * weight for count, weight in zip(inventory, tables.weight, strict=True))
    return held + (tables.weight[(offer - 1) % len(tables.items)] if offer else 0)


def stock(world: World, random: torch.Generator) -> None:
    """Sets the fields of the full game at random such that the invariants hold and the ledger balances. Dead
    agents' slots are filled as well, since their contents must not matter."""
    cfg, tables = world.config, world.config.tables
    items, kind_of = len(tables.items), kinds(cfg)

    def integers(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high + 1, shape, generator=random)

    realms, slots = world.realms, cfg.slots
    if cfg.skills:
        # Some levels are low, some were only just reached.
        level = integers(1, 20, realms, slots, len(SKILLS)) ** integers(0, 1, realms, slots, len(SKILLS))
        level[..., CONSTITUTION] = level[..., CONSTITUTION].clamp(min=10)
        xp = torch.tensor(experience_table())[level - 1] + integers(0, 3, *level.shape)
        world.xp.copy_(xp)
        world.level[:, :slots] = level_of(xp)
        world.health[:, :slots] = torch.minimum(
            world.health[:, :slots] * 2, world.level[:, :slots, CONSTITUTION].short()
        )
    for realm in range(realms):
        for slot in range(slots):
            bag = [0] * items
            room = cfg.capacity - int(integers(0, 3, 1)) * int(integers(0, 9, 1))
            offer = int(integers(0, 2 * items, 1)) if cfg.exchange and int(integers(0, 1, 1)) else 0
            while items and units(cfg, bag, offer) < room and int(integers(0, 15, 1)):
                bag[int(integers(0, items - 1, 1))] += int(integers(1, 2, 1))
                if units(cfg, bag, offer) > cfg.capacity:
                    bag = [0] * items
            for item in range(items):
                if tables.weight[item] == 0:
                    bag[item] = int(integers(0, 25, 1)) * int(integers(0, 1, 1))
            world.inventory[realm, slot] = torch.tensor(bag, dtype=torch.int32)
            world.offer[realm, slot] = offer
            if offer:
                world.offer_price[realm, slot] = int(integers(0, len(tables.prices) - 1, 1))
                world.offer_left[realm, slot] = int(integers(1, cfg.offer_ticks, 1))
            worn = worn_by(cfg, bag, world.level[realm, slot].tolist())
            world.worn[realm, slot] = torch.tensor(worn, dtype=torch.uint8)
    world.gold.copy_(integers(0, 300, realms, slots) * integers(0, 2, realms, slots))
    world.token.copy_(integers(0, max(0, cfg.tokens - 1), realms, slots))
    world.events.copy_(integers(0, 50, *world.events.shape))
    world.dead_totals.copy_(integers(0, 500, *world.dead_totals.shape))
    world.trades.copy_(integers(0, 500, *world.trades.shape))
    world.npc_kills.copy_(integers(0, 500, *world.npc_kills.shape))
    world.top_attacker.copy_(integers(-1, cfg.entities - 1, *world.top_attacker.shape))
    world.quotes[..., 2] = integers(0, len(tables.prices), realms, items)
    if cfg.exchange:
        world.quotes[..., :2] = best_offers(world)

    for slot, kind in enumerate(kind_of):
        if kind >= 0:
            top = tables.npcs[kind].health
            world.health[:, slot] = integers(1, top, realms)
            if tables.npcs[kind].hunts == 1:
                _provoke(world, slot, tables.npcs[kind].aggro_ticks, integers)
    world.food[:, slots:] = 0
    world.water[:, slots:] = 0

    world.ledger.copy_(integers(0, 9, *world.ledger.shape))
    short = holdings(world) - balance(world)
    world.ledger[..., Flow.MADE] += short.clamp(min=0)
    world.ledger[..., Flow.LOST] += (-short).clamp(min=0)


def _provoke(world: World, slot: int, aggro_ticks: int, integers) -> None:
    cfg = world.config
    for realm in range(world.realms):
        if not int(integers(0, 1, 1)):
            continue
        aggro_target = int(integers(0, cfg.slots - 1, 1))
        world.aggro_target[realm, slot - cfg.slots] = aggro_target
        # Sometimes the entity is gone and another one has its slot.
        gone = int(integers(0, 3, 1)) == 0
        world.aggro_entity[realm, slot - cfg.slots] = (
            10**6 if gone else int(world.entity[realm, aggro_target])
        )
        world.aggro_ticks[realm, slot - cfg.slots] = int(integers(1, aggro_ticks, 1))


def best_offers(world: World) -> Tensor:
    """Returns [R, items, 2] uint8: best bid and ask as price index plus one, 0 for none, by a plain
    search."""
    items = len(world.config.tables.items)
    best = torch.zeros(world.realms, items, 2, dtype=torch.uint8)
    for realm in range(world.realms):
        for slot in range(world.config.slots):
            offer, price = int(world.offer[realm, slot]), int(world.offer_price[realm, slot]) + 1
            if not offer or not world.alive[realm, slot]:
                continue
            item = (offer - 1) % items
            if offer > items:
                best[realm, item, 0] = max(int(best[realm, item, 0]), price)
            elif not best[realm, item, 1] or price < int(best[realm, item, 1]):
                best[realm, item, 1] = price
    return best
