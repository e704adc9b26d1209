"""Full-game observations as numbers for a network, directly from the records; twin of
``nmmo_gpu.train.features``.

Shares and logarithms are looked up in tables made by torch, so that the numbers have the same bits."""

from __future__ import annotations

from collections import namedtuple
from functools import cache

import numpy as np
import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import CONSTITUTION, SKILLS
from nmmo_gpu.cpu.compile import compiled, fields_of
from nmmo_gpu.cpu.threads import chunks, parallel
from nmmo_gpu.world import network_inputs
from nmmo_gpu.world.observation_layout import ENTITY_ATTRIBUTES, ENTITY_FEATURES, NPC, ObservationLayout

_Tables = namedtuple("_Tables", "level gold units price time rank")
"""[n] float32, numbers for the network: doublings by level and by gold; units by their share of the capacity,
prices (by index plus one), ticks and ranks of gear by their share of the maximum."""
_Sizes = namedtuple(
    "_Sizes",
    "skills max_health nearest items prices npc_kinds capacity offer_ticks words self_width entity_width",
)
"""``words``: tokens other than silence; ``self_width``, ``entity_width``: numbers of the agent itself, and of
each row of the entity table."""
_Offsets = namedtuple(
    "_Offsets", "self levels goods inventory offer market entity_kind entity_attributes entities"
)
"""First int16 of the first five fields in a record, first byte of the others."""

SKILL_COUNT, LOOKS, ENTITIES = len(SKILLS), len(ENTITY_ATTRIBUTES), len(ENTITY_FEATURES)
HEALTH, THEIR_HEALTH = network_inputs.HEALTH, network_inputs.THEIR_HEALTH
STRENGTH, RANKS, TOKEN, MAX_HEALTH, IMMUNE = (
    ENTITY_ATTRIBUTES.index(name) for name in ("combat_level", "sword", "token", "max_health", "immune")
)
MIN_PER_THREAD = 64
"""Minimum number of records per thread."""


@compiled(inline="always")
def _encode_offer(row, column, short, tables, sizes, at):
    """Encodes the open offer, from ``column`` on; returns the next column."""
    side, item = short[at.offer], short[at.offer + 1]
    row[column] = side == 1
    row[column + 1] = side == 2
    row[column + 2] = tables.price[max(0, min(short[at.offer + 2], sizes.prices))]
    row[column + 3] = tables.time[max(0, min(short[at.offer + 3], sizes.offer_ticks))]
    column += 4
    if 1 <= item <= sizes.items:
        row[column + item - 1] = np.float32(1)
    return column + sizes.items


@compiled(inline="always")
def _encode_self(row, record, short, tables, sizes, at):
    """Encodes what the record holds about the agent itself and the exchange."""
    for skill in range(SKILL_COUNT):
        row[skill] = tables.level[max(short[at.levels + skill], 0)]
    limit = max(short[at.levels + CONSTITUTION], 1) if sizes.skills else sizes.max_health
    column = SKILL_COUNT
    row[column] = np.float32(short[at.self + HEALTH]) / np.float32(limit)
    row[column + 1] = tables.gold[max(short[at.goods], 0)]
    row[column + 2] = tables.units[max(0, min(short[at.goods + 1], sizes.capacity))]
    column += 3
    for item in range(sizes.items):
        held = max(0, min(short[at.inventory + item], sizes.capacity))
        row[column + item] = tables.units[held]
        row[column + sizes.items + item] = held > 0
    column = _encode_offer(row, column + 2 * sizes.items, short, tables, sizes, at)
    for item in range(sizes.items):
        quoted = record[at.market + 3 * item : at.market + 3 * item + 3]
        row[column] = tables.price[min(quoted[0], sizes.prices)]
        row[column + 1] = tables.price[min(quoted[1], sizes.prices) if quoted[1] else sizes.prices + 1]
        row[column + 2] = tables.price[min(quoted[2], sizes.prices)]
        column += 3


@compiled(inline="always")
def _encode_entity(row, column, record, k, tables, sizes, at):
    """Encodes row ``k`` of the entity table, from ``column`` on."""
    kind = np.int64(record[at.entity_kind + k])
    if 0 <= kind - NPC < sizes.npc_kinds:
        row[column + kind - NPC] = np.float32(1)
    column += sizes.npc_kinds
    look = record[at.entity_attributes + LOOKS * k : at.entity_attributes + LOOKS * (k + 1)]
    row[column] = tables.level[look[STRENGTH]]
    row[column + 1] = tables.level[look[MAX_HEALTH]]
    for gear in range(3):
        row[column + 2 + gear] = tables.rank[look[RANKS + gear]]
    row[column + 5] = np.float32(look[IMMUNE])
    token = np.int64(look[TOKEN])
    if 1 <= token <= sizes.words:
        row[column + 5 + token] = np.float32(1)
    health = np.int8(record[at.entities + ENTITIES * k + THEIR_HEALTH])
    row[column + 6 + sizes.words] = np.float32(health) / np.float32(max(look[MAX_HEALTH], 1))


@compiled(allocates=False)
def _encode(records, shorts, index, tables, sizes, at, out, low, high):
    """Encodes records ``index[low]`` to ``index[high - 1]``; ``shorts``: the records as int16."""
    for i in range(low, high):
        record, row = records[index[i]], out[i]
        row[:] = np.float32(0)
        _encode_self(row, record, shorts[index[i]], tables, sizes, at)
        for k in range(sizes.nearest):
            if record[at.entity_kind + k]:
                _encode_entity(row, sizes.self_width + k * sizes.entity_width, record, k, tables, sizes, at)


@cache
def _constants(config: WorldConfig) -> tuple[_Tables, _Sizes, _Offsets]:
    """Returns what the loop needs to know of a config. The tables are made by torch."""
    numbers = torch.arange(1 << 15, dtype=torch.float32, device="cpu")
    prices, ranks = len(config.content.prices), max(1, *map(len, config.tables.gear))
    tables = (
        network_inputs.log2_scale(numbers, network_inputs.LEVEL_LOG2),
        network_inputs.log2_scale(numbers, network_inputs.GOLD_LOG2),
        numbers[: config.capacity + 1] / config.capacity,
        numbers[: prices + 2] / prices,
        numbers[: config.offer_ticks + 1] / config.offer_ticks,
        numbers[:256] / ranks,
    )
    sizes = fields_of(
        _Sizes,
        config,
        items=len(config.content.items),
        prices=prices,
        npc_kinds=network_inputs.npc_kinds(config),
        words=max(0, config.tokens - 1),
        self_width=network_inputs.self_attributes_width(config),
        entity_width=network_inputs.entity_attributes_width(config),
    )
    fields = ObservationLayout(config).fields
    offsets = [fields[name].offset for name in _Offsets._fields]
    at = _Offsets(*(offset // 2 for offset in offsets[:5]), *offsets[5:])
    return _Tables(*(table.numpy() for table in tables)), sizes, at


def encode_features(
    records: Tensor, index: Tensor, views: dict[str, Tensor], config: WorldConfig, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """See ``nmmo_gpu.train.features.encode_features``; for tensors on the CPU, and without a look at the
    views."""
    width = network_inputs.attributes_width(config)
    out = torch.empty(*index.shape, width, dtype=torch.float32, device="cpu")
    data, which = records.numpy(), index.reshape(-1).numpy()
    fixed = (data, data.view(np.int16), which, *_constants(config), out.view(-1, width).numpy())
    parallel(_encode, [(*fixed, *piece) for piece in chunks(len(which), MIN_PER_THREAD)])
    return network_inputs.split(out.to(dtype), config)
