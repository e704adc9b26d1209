"""Observation of the full game: attributes of others, levels, goods, the market, and masks."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.content import CONSTITUTION, DEFENSE
from nmmo_gpu.content.tables import combat_level
from nmmo_gpu.world.exchange import possible_prices, possible_trades
from nmmo_gpu.world.inventory import room
from nmmo_gpu.world.observation_layout import STYLES
from nmmo_gpu.world.state import World
from nmmo_gpu.world.upkeep import max_health
from nmmo_gpu.world.work import possible_works

LARGEST_SHORT = torch.iinfo(torch.int16).max


def entity_attributes(world: World) -> Tensor:
    """[R * S] int64: the additional public attributes of all entities in the full game, the eight int8 of
    ``ENTITY_ATTRIBUTES`` packed so that one look-up reads all."""
    cfg = world.config
    entity_attributes = torch.zeros(*world.alive.shape, 8, dtype=torch.int8, device=world.device)
    level = world.level.long()
    best_style = level[..., : len(STYLES)].amax(-1)
    strength = combat_level(level[..., DEFENSE], level[..., CONSTITUTION], best_style)
    entity_attributes[..., 1] = strength.clamp(max=127)
    agents = entity_attributes[:, : cfg.slots]
    agents[..., 2:5] = world.worn.clamp(max=127)
    agents[..., 5] = world.token
    agents[..., 6] = world.agents(max_health(world).expand(world.alive.shape))
    agents[..., 7] = world.agents(world.immune())
    first = cfg.slots
    for number, (kind, count) in enumerate(zip(cfg.tables.npcs, cfg.npc_counts, strict=False)):
        entity_attributes[:, first : first + count, 0] = 1 + number
        entity_attributes[:, first : first + count, 6] = kind.health
        first += count
    return entity_attributes.view(-1, 8).view(torch.int64).squeeze(1)


def observe_goods(world: World, agent: Tensor, out: dict[str, Tensor]) -> None:
    """Levels, goods, offer, market and the masks of work, trade, price and token.

    Args:
        agent: [n] int64, index into [R * A].
        out: the named fields, [n, ...].
    """
    cfg = world.config

    def of_agents(field: Tensor) -> Tensor:
        return field.flatten(0, 1)[agent]

    out["levels"].copy_(of_agents(world.agents(world.level)))
    out["goods"][:, 0] = of_agents(world.gold).clamp(max=LARGEST_SHORT)
    out["goods"][:, 1] = of_agents(room(world))
    out["inventory"].copy_(of_agents(world.inventory).clamp(max=LARGEST_SHORT))
    items = len(cfg.content.items)
    out["offer"].zero_()
    if items:
        offer = of_agents(world.offer)
        is_open = offer > 0
        out["offer"][:, 0] = torch.where(is_open, 1 + (offer > items), 0)
        out["offer"][:, 1] = torch.where(is_open, 1 + (offer - 1) % items, 0)
        out["offer"][:, 2] = torch.where(is_open, 1 + of_agents(world.offer_price).short(), 0)
        out["offer"][:, 3] = torch.where(is_open, of_agents(world.offer_left), 0)
    out["market"].copy_(world.quotes[agent // cfg.slots])
    if cfg.works:
        out["work_mask"].copy_(of_agents(possible_works(world)))
    if cfg.exchange:
        trades, affordable = possible_trades(world)
        out["trade_mask"].copy_(of_agents(trades))
        out["price_mask"].copy_(of_agents(possible_prices(world, trades, affordable)))
    if cfg.tokens:
        out["token_mask"].fill_(True)
