"""The attributes of the full game, of an agent and of the entities it sees, scaled to about 0 to 1.

They have no direction, so all four copies of a symmetric network get the same values
(``nmmo_gpu.train.symmetry``). Attributes without an upper bound are given by their logarithms."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import CONSTITUTION
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
from nmmo_gpu.world.observation_layout import ENTITY_ATTRIBUTES, NPC, ObservationLayout


def encode_features(
    records: Tensor, index: Tensor, views: dict[str, Tensor], config: WorldConfig, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Returns the attributes of records as features of a network.

    Args:
        records: [rows, bytes] uint8.
        index: [P, B] int64, the rows of each population.
        views: the fields of those records before the windows, [P, B, ...].
        config: rules of the world.
        dtype: a floating dtype.

    Returns:
        all attributes: [P, B, n] of ``dtype``: those of the agent, then those of the entities, row by row.
        entity attributes: [P, B, nearest, m] of ``dtype``.
    """
    attributes = torch.cat((self_attributes(views, config), entity_attributes(views, config).flatten(-2)), -1)
    return split(attributes.to(dtype), config)


def system_features(views: dict[str, Tensor], layout: ObservationLayout) -> Tensor:
    """Returns [..., n] float32: the fields of systems, flattened, in units of their largest absolute value.

    Args:
        views: the fields of records before the windows, [..., ...].
        layout: layout of the records; ``n`` is ``system_features_width(layout)``."""
    columns = []
    for name, spec in layout.system_fields.items():
        field = views[name].float() / max(-spec.low, spec.high)
        columns.append(field.flatten(-len(spec.shape)) if spec.shape else field[..., None])
    return torch.cat(columns, -1)


def system_features_width(layout: ObservationLayout) -> int:
    """Returns the number of columns of ``system_features``; 0 without fields of systems."""
    return sum(math.prod(spec.shape) for spec in layout.system_fields.values())


def self_attributes(views: dict[str, Tensor], config: WorldConfig) -> Tensor:
    """Returns [..., n] float32: an agent's own attributes.

    The columns are: levels; health / maximum health; gold and free inventory space; for each item the share
    of the inventory that it fills, then whether the agent has any; the open offer's side (two columns),
    price, time left and item (one-hot); for each item the best bid, best ask (if none: above any price) and
    last price.

    Args:
        views: the fields of records, [..., ...].
        config: rules of the world."""
    held, market, levels, goods = views["inventory"], views["market"], views["levels"], views["goods"]
    side, item, price, left = views["offer"].unbind(-1)
    prices, items = len(config.content.prices), len(config.content.items)
    max_health = levels[..., CONSTITUTION] if config.skills else torch.full_like(side, config.max_health)
    numbers = torch.arange(1, items + 1, dtype=item.dtype, device=item.device)
    quoted = market.float()
    quoted[..., 1].masked_fill_(market[..., 1] == 0, prices + 1)
    columns = (
        log2_scale(levels, LEVEL_LOG2),
        (views["self"][..., HEALTH].float() / max_health.clamp(min=1))[..., None],
        log2_scale(goods[..., :1], GOLD_LOG2),
        goods[..., 1:].float() / config.capacity,
        held.clamp(max=config.capacity).float() / config.capacity,
        held > 0,
        torch.stack((side == 1, side == 2, price.float() / prices, left.float() / config.offer_ticks), -1),
        item[..., None] == numbers,
        quoted.flatten(-2) / prices,
    )
    return torch.cat(columns, -1)


def entity_attributes(views: dict[str, Tensor], config: WorldConfig) -> Tensor:
    """Returns [..., nearest, n] float32: the attributes of each row of the entity table.

    The columns are: NPC kind (one-hot); combat level and maximum health; ranks of sword, knife and armor;
    immunity; token said (one-hot, zeros for silence); health / maximum health. Empty rows are zero.

    Args:
        views: the fields of records, [..., ...].
        config: rules of the world."""
    seen = views["entity_attributes"]
    column = {name: seen[..., i] for i, name in enumerate(ENTITY_ATTRIBUTES)}
    device = seen.device
    kinds = torch.arange(NPC, NPC + npc_kinds(config), dtype=torch.uint8, device=device)
    words = torch.arange(1, max(1, config.tokens), dtype=torch.int8, device=device)
    strength = torch.stack((column["combat_level"], column["max_health"]), -1)
    max_health = column["max_health"].clamp(min=1)
    columns = (
        views["entity_kind"][..., None] == kinds,
        log2_scale(strength, LEVEL_LOG2),
        seen[..., RANKS].float() / max(1, *map(len, config.tables.gear)),
        column["immune"][..., None],
        column["token"][..., None] == words,
        (views["entities"][..., THEIR_HEALTH].float() / max_health)[..., None],
    )
    return torch.cat(columns, -1)
