"""What the full game shows of oneself and of others, as numbers of about 0 to 1 that a network can add up.

None of it has a direction, so it is told to all four copies of a symmetric network alike
(``nmmo_gpu.train.symmetry``). What can grow without bound is told by its logarithm."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import CONSTITUTION
from nmmo_gpu.world.layout import ENTITY_ATTRIBUTES, NPC
from nmmo_gpu.world.network_inputs import (
    GOLD_LOG2,
    HEALTH,
    LEVEL_LOG2,
    RANKS,
    THEIR_HEALTH,
    log2_scale,
    npc_kinds,
    split,
)  # fmt: skip


def encode_features(
    records: Tensor, index: Tensor, views: dict[str, Tensor], config: WorldConfig, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """(belongings, then looks row by row: [P, B, n]; looks: [P, B, nearest, m]) of a floating dtype.

    Args:
        records: [rows, bytes] uint8. index: [P, B] int64: the rows that each population looks at.
        views: the fields of those records before the windows, [P, B, ...].
    """
    about_all = torch.cat((self_attributes(views, config), entity_attributes(views, config).flatten(-2)), -1)
    return split(about_all.to(dtype), config)


def self_attributes(views: dict[str, Tensor], config: WorldConfig) -> Tensor:
    """[..., n] float32: levels; share of the health that there can be; gold and room; of each item how much
    of an inventory it fills, and whether there is any; the open offer's side (two columns), price, time left
    and item; of each item best bid, best ask (none: dearer than any) and last price.

    ``views``: the fields of records, [..., ...]."""
    held, market, levels, goods = views["inventory"], views["market"], views["levels"], views["goods"]
    side, item, price, left = views["offer"].unbind(-1)
    prices, items = len(config.content.prices), len(config.content.items)
    most = levels[..., CONSTITUTION] if config.skills else torch.full_like(side, config.max_health)
    numbers = torch.arange(1, items + 1, dtype=item.dtype, device=item.device)
    quoted = market.float()
    quoted[..., 1].masked_fill_(market[..., 1] == 0, prices + 1)
    columns = (
        log2_scale(levels, LEVEL_LOG2),
        (views["self"][..., HEALTH] / most.clamp(min=1))[..., None],
        log2_scale(goods[..., :1], GOLD_LOG2),
        goods[..., 1:] / config.capacity,
        held.clamp(max=config.capacity) / config.capacity,
        held > 0,
        torch.stack((side == 1, side == 2, price / prices, left / config.offer_ticks), -1),
        item[..., None] == numbers,
        quoted.flatten(-2) / prices,
    )
    return torch.cat(columns, -1)


def entity_attributes(views: dict[str, Tensor], config: WorldConfig) -> Tensor:
    """[..., nearest, n] float32 of each row of the entity table: NPC kind, one column each; combat level;
    rank of sword, knife and armor; most health there can be; immune; word said, one column each, none for
    silence; share of that most health. Zeros for rows that do not exist."""
    seen = views["entity_attributes"]
    column = {name: seen[..., i] for i, name in enumerate(ENTITY_ATTRIBUTES)}
    device = seen.device
    kinds = torch.arange(NPC, NPC + npc_kinds(config), dtype=torch.uint8, device=device)
    words = torch.arange(1, max(1, config.tokens), dtype=torch.int8, device=device)
    strength = torch.stack((column["combat_level"], column["max_health"]), -1)
    most = column["max_health"].clamp(min=1)
    columns = (
        views["entity_kind"][..., None] == kinds,
        log2_scale(strength, LEVEL_LOG2),
        seen[..., RANKS] / max(1, *map(len, config.tables.gear)),
        column["immune"][..., None],
        column["token"][..., None] == words,
        (views["entities"][..., THEIR_HEALTH] / most)[..., None],
    )
    return torch.cat(columns, -1)
