"""Encodes full-game observations as network inputs, in one kernel; twin of ``nmmo_gpu.train.features``."""

from __future__ import annotations

from collections import namedtuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu import content
from nmmo_gpu.config import WorldConfig
from nmmo_gpu.kernels.launch import INTERPRETED, fields_of, launch
from nmmo_gpu.world import network_inputs, observation_layout
from nmmo_gpu.world.observation_layout import ENTITY_ATTRIBUTES, ENTITY_FEATURES, ObservationLayout

_Records = namedtuple("_Records", "bytes shorts")
"""The same records as uint8 and as int16."""
_Scales = namedtuple("_Scales", "capacity offer_ticks max_health ranks")
"""Divisors that scale the inputs; ``ranks``: the maximum number of ranks of a kind of gear."""
_Layout = namedtuple(
    "_Layout",
    "bytes self levels goods inventory offer market entity_kind entity_attributes entities",
)
"""The length of a record, and offsets of fields in it."""
_Config = namedtuple("_Config", "skills items prices npc_kinds words nearest row stride")
"""``skills``: whether levels exist; the numbers of items, prices, kinds of NPCs, words and rows of the entity
table; the numbers of columns of such a row and of the matrix."""
_Padded = namedtuple("_Padded", "items quotes row")
"""Powers of two: items, quotes, and columns of a row of the entity table."""

SKILLS, SKILLS_PADDED = tl.constexpr(len(content.SKILLS)), tl.constexpr(16)
CONSTITUTION, HEALTH = tl.constexpr(content.CONSTITUTION), tl.constexpr(network_inputs.HEALTH)
THEIR_HEALTH = tl.constexpr(network_inputs.THEIR_HEALTH)
LEVEL_LOG2 = tl.constexpr(float(network_inputs.LEVEL_LOG2))
GOLD_LOG2 = tl.constexpr(float(network_inputs.GOLD_LOG2))
LOOKS, ENTITIES = tl.constexpr(len(ENTITY_ATTRIBUTES)), tl.constexpr(len(ENTITY_FEATURES))
NPC = tl.constexpr(observation_layout.NPC)
STRENGTH, RANKS, TOKEN, MAX_HEALTH, IMMUNE = (
    tl.constexpr(ENTITY_ATTRIBUTES.index(name))
    for name in ("combat_level", "sword", "token", "max_health", "immune")
)
RECORDS = 1024 if INTERPRETED else 32
"""Records per program."""


@triton.jit
def log2_scale(values, MANY: tl.constexpr):
    """See ``nmmo_gpu.world.network_inputs.log2_scale``."""
    return tl.log2(values.to(tl.float32) + 1.0) / MANY


@triton.jit
def store(into, column, values, here, COLUMNS: tl.constexpr):
    """Writes [BLOCK, padded] values to the columns that exist."""
    tl.store(into + column, values.to(into.dtype.element_ty), mask=here[:, None] & (column < COLUMNS))


@triton.jit
def store_one(into, values, here):
    """Writes [BLOCK] values to one column."""
    tl.store(into, values.to(into.dtype.element_ty)[:, None], mask=here[:, None])


@triton.jit
def look_at(kinds, look, entity, into, here, ranks, config: tl.constexpr, ROW_PADDED: tl.constexpr):
    """Writes a row of the entity table; the first three point to its bytes, [BLOCK, 1]."""
    column = tl.arange(0, ROW_PADDED)[None, :]
    kind = tl.load(kinds, mask=here[:, None], other=0).to(tl.int32)
    there = here[:, None] & (kind > 0)
    strength = tl.load(look + STRENGTH, mask=there, other=0)
    max_health = tl.load(look + MAX_HEALTH, mask=there, other=0)
    immune = tl.load(look + IMMUNE, mask=there, other=0)
    token = tl.load(look + TOKEN, mask=there, other=0).to(tl.int32)
    health = tl.load(entity + THEIR_HEALTH, mask=there, other=0).to(tl.int8, bitcast=True)
    gear = column - (config.npc_kinds + 2)
    worn = tl.load(look + RANKS + gear, mask=there & (gear >= 0) & (gear < 3), other=0)
    values = worn.to(tl.float32) / ranks
    values = tl.where(column == config.npc_kinds, log2_scale(strength, LEVEL_LOG2), values)
    values = tl.where(column == config.npc_kinds + 1, log2_scale(max_health, LEVEL_LOG2), values)
    values = tl.where(column == config.npc_kinds + 5, immune.to(tl.float32), values)
    share = health.to(tl.float32) / tl.maximum(max_health.to(tl.float32), 1.0)
    values = tl.where(column == config.npc_kinds + 6 + config.words, share, values)
    word = column - (config.npc_kinds + 5)
    one = (column < config.npc_kinds) & (kind == NPC + column)
    one = one | ((word >= 1) & (word <= config.words) & (token == word))
    store(into, column, tl.where(one & there, 1.0, values), here, config.row)


@triton.jit
def _encode_features(
    records, index, out, rows, scales, layout: tl.constexpr, config: tl.constexpr, padded: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Order-free: each number is written by one program."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = place < rows
    line = tl.load(index + place, mask=here, other=0)
    record = records.bytes + line[:, None] * layout.bytes
    own = records.shorts + line * (layout.bytes // 2)
    into = out + place[:, None] * config.stride

    column = tl.arange(0, SKILLS_PADDED)[None, :]
    known = here[:, None] & (column < SKILLS)
    level = tl.load(own[:, None] + layout.levels // 2 + column, mask=known, other=0)
    store(into, column, log2_scale(level, LEVEL_LOG2), here, SKILLS)
    health = tl.load(own + layout.self // 2 + HEALTH, mask=here, other=0).to(tl.float32)
    if config.skills:
        max_health = tl.load(own + layout.levels // 2 + CONSTITUTION, mask=here, other=0).to(tl.float32)
    else:
        max_health = tl.zeros([BLOCK], tl.float32) + scales.max_health
    store_one(into + SKILLS, health / tl.maximum(max_health, 1.0), here)
    gold = tl.load(own + layout.goods // 2, mask=here, other=0)
    store_one(into + SKILLS + 1, log2_scale(gold, GOLD_LOG2), here)
    room = tl.load(own + layout.goods // 2 + 1, mask=here, other=0).to(tl.float32)
    store_one(into + SKILLS + 2, room / scales.capacity, here)

    into += SKILLS + 3
    column = tl.arange(0, padded.items)[None, :]
    known = here[:, None] & (column < config.items)
    held = tl.load(own[:, None] + layout.inventory // 2 + column, mask=known, other=0)
    share = tl.minimum(held.to(tl.float32), scales.capacity) / scales.capacity
    store(into, column, share, here, config.items)
    store(into + config.items, column, (held > 0).to(tl.float32), here, config.items)
    into += 2 * config.items
    side = tl.load(own + layout.offer // 2, mask=here, other=0)
    store_one(into, (side == 1).to(tl.float32), here)
    store_one(into + 1, (side == 2).to(tl.float32), here)
    price = tl.load(own + layout.offer // 2 + 2, mask=here, other=0).to(tl.float32)
    store_one(into + 2, price / config.prices, here)
    left = tl.load(own + layout.offer // 2 + 3, mask=here, other=0).to(tl.float32)
    store_one(into + 3, left / scales.offer_ticks, here)
    item = tl.load(own + layout.offer // 2 + 1, mask=here, other=0)[:, None]
    store(into + 4, column, (item == column + 1).to(tl.float32), here, config.items)
    into += 4 + config.items
    column = tl.arange(0, padded.quotes)[None, :]
    known = here[:, None] & (column < 3 * config.items)
    quoted = tl.load(record + layout.market + column, mask=known, other=0)
    # A missing ask counts as one above the highest price.
    quoted = tl.where((column % 3 == 1) & (quoted == 0), config.prices + 1, quoted.to(tl.int32))
    store(into, column, quoted.to(tl.float32) / config.prices, here, 3 * config.items)

    into += 3 * config.items
    for k in range(config.nearest):
        look_at(
            record + layout.entity_kind + k, record + layout.entity_attributes + k * LOOKS,
            record + layout.entities + k * ENTITIES, into + k * config.row, here, scales.ranks, config,
            padded.row,
        )  # fmt: skip


def encode_features(records: Tensor, index: Tensor, config: WorldConfig, out: Tensor) -> None:
    """See ``nmmo_gpu.train.features.encode_features``.

    Args:
        records: [rows, bytes] uint8.
        index: [P, B] int64, contiguous.
        config: the rules.
        out: [P, B, n] of a floating dtype, columns of a contiguous matrix, into which the result is
            written."""
    layout = ObservationLayout(config)
    at = {name: field.offset for name, field in layout.fields.items()}
    assert out.shape == (*index.shape, network_inputs.attributes_width(config))
    items, row = len(config.content.items), network_inputs.entity_attributes_width(config)
    settings = fields_of(
        _Config, config, items=items, prices=len(config.content.prices),
        npc_kinds=network_inputs.npc_kinds(config), words=max(0, config.tokens - 1), row=row,
        stride=out.stride(1),
    )  # fmt: skip
    launch(
        _encode_features, triton.cdiv(index.numel(), RECORDS), _Records(records, records.view(torch.int16)),
        index, out, index.numel(), fields_of(_Scales, config, ranks=max(1, *map(len, config.tables.gear))),
        layout=fields_of(_Layout, layout, **at), config=settings,
        padded=_Padded(*(triton.next_power_of_2(max(1, n)) for n in (items, 3 * items, row))), BLOCK=RECORDS,
    )  # fmt: skip
