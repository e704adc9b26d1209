"""Full-game observations as numbers for a network, directly from the records; twin of
``nmmo_gpu.train.features``.

Shares and logarithms are looked up in tables made by torch, so that the numbers have the same bits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import CONSTITUTION, SKILLS
from nmmo_gpu.cpu.compile import compiled
from nmmo_gpu.cpu.threads import chunks, parallel
from nmmo_gpu.world import network_inputs
from nmmo_gpu.world.observation_layout import ENTITY_ATTRIBUTES, ENTITY_FEATURES, NPC, ObservationLayout

SKILL_COUNT, LOOKS, ENTITIES = len(SKILLS), len(ENTITY_ATTRIBUTES), len(ENTITY_FEATURES)
HEALTH, THEIR_HEALTH = network_inputs.HEALTH, network_inputs.THEIR_HEALTH
STRENGTH, RANKS, TOKEN, MAX_HEALTH, IMMUNE = (
    ENTITY_ATTRIBUTES.index(name) for name in ("combat_level", "sword", "token", "max_health", "immune")
)
MIN_PER_THREAD = 64
"""Minimum number of records per thread."""


@cache
def _loop(config: WorldConfig) -> Callable[..., None]:
    """The loop for one config, whose sizes are compile-time constants."""
    at = {name: field.offset for name, field in ObservationLayout(config).fields.items()}
    own_at, levels_at, goods_at, inventory_at, offer_at = (
        at[name] // 2 for name in ("self", "levels", "goods", "inventory", "offer")
    )
    market_at, kind_at, looks_at, entities_at = (
        at[name] for name in ("market", "entity_kind", "entity_attributes", "entities")
    )
    skills, max_health, nearest = config.skills, config.max_health, config.nearest
    items, prices = len(config.content.items), len(config.content.prices)
    kinds = network_inputs.npc_kinds(config)
    capacity, offer_ticks, words = config.capacity, config.offer_ticks, max(0, config.tokens - 1)
    self_attributes = network_inputs.self_attributes_width(config)
    entity_attributes = network_inputs.entity_attributes_width(config)

    @compiled
    def loop(
        records, shorts, index, by_level, by_gold, by_room, by_price, by_time, by_rank, out, low, high
    ):  # fmt: skip
        for i in range(low, high):
            record, short, row = records[index[i]], shorts[index[i]], out[i]
            row[:] = np.float32(0)
            for skill in range(SKILL_COUNT):
                row[skill] = by_level[max(short[levels_at + skill], 0)]
            limit = max(short[levels_at + CONSTITUTION], 1) if skills else max_health
            column = SKILL_COUNT
            row[column] = np.float32(short[own_at + HEALTH]) / np.float32(limit)
            row[column + 1] = by_gold[max(short[goods_at], 0)]
            row[column + 2] = by_room[max(0, min(short[goods_at + 1], capacity))]
            column += 3
            for item in range(items):
                held = max(0, min(short[inventory_at + item], capacity))
                row[column + item] = by_room[held]
                row[column + items + item] = held > 0
            column += 2 * items
            side, item = short[offer_at], short[offer_at + 1]
            row[column] = side == 1
            row[column + 1] = side == 2
            row[column + 2] = by_price[max(0, min(short[offer_at + 2], prices))]
            row[column + 3] = by_time[max(0, min(short[offer_at + 3], offer_ticks))]
            column += 4
            if 1 <= item <= items:
                row[column + item - 1] = np.float32(1)
            column += items
            for item in range(items):
                quoted = record[market_at + 3 * item : market_at + 3 * item + 3]
                row[column] = by_price[min(quoted[0], prices)]
                row[column + 1] = by_price[min(quoted[1], prices) if quoted[1] else prices + 1]
                row[column + 2] = by_price[min(quoted[2], prices)]
                column += 3
            for k in range(nearest):
                kind = np.int64(record[kind_at + k])
                if not kind:
                    continue
                column = self_attributes + k * entity_attributes
                if 0 <= kind - NPC < kinds:
                    row[column + kind - NPC] = np.float32(1)
                column += kinds
                look = record[looks_at + LOOKS * k : looks_at + LOOKS * (k + 1)]
                row[column] = by_level[look[STRENGTH]]
                row[column + 1] = by_level[look[MAX_HEALTH]]
                for gear in range(3):
                    row[column + 2 + gear] = by_rank[look[RANKS + gear]]
                row[column + 5] = np.float32(look[IMMUNE])
                token = np.int64(look[TOKEN])
                if 1 <= token <= words:
                    row[column + 5 + token] = np.float32(1)
                health = np.int8(record[entities_at + ENTITIES * k + THEIR_HEALTH])
                row[column + 6 + words] = np.float32(health) / np.float32(max(look[MAX_HEALTH], 1))

    made: Callable[..., None] = loop
    return made


@cache
def _tables(config: WorldConfig) -> tuple[np.ndarray, ...]:
    """Levels and gold by their doublings; units, prices, ticks and ranks as shares of the maximum."""
    numbers = torch.arange(1 << 15)
    prices, ranks = len(config.content.prices), max(1, *map(len, config.tables.gear))
    tables = (
        network_inputs.log2_scale(numbers, network_inputs.LEVEL_LOG2),
        network_inputs.log2_scale(numbers, network_inputs.GOLD_LOG2),
        numbers[: config.capacity + 1] / config.capacity,
        numbers[: prices + 2].float() / prices,
        numbers[: config.offer_ticks + 1] / config.offer_ticks,
        numbers[:256] / ranks,
    )
    return tuple(table.numpy() for table in tables)


def encode_features(
    records: Tensor, index: Tensor, views: dict[str, Tensor], config: WorldConfig, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """See ``nmmo_gpu.train.features.encode_features``; for tensors on the CPU, and without a look at the
    views."""
    width = network_inputs.attributes_width(config)
    out = torch.empty(*index.shape, width)
    data, which = records.numpy(), index.reshape(-1).numpy()
    fixed = (data, data.view(np.int16), which, *_tables(config), out.view(-1, width).numpy())
    parallel(_loop(config), [(*fixed, *piece) for piece in chunks(len(which), MIN_PER_THREAD)])
    return network_inputs.split(out.to(dtype), config)
