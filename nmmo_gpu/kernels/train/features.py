"""Full-game observations as numbers for a network, in one kernel; twin of ``nmmo_gpu.train.features``."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu import network_inputs
from nmmo_gpu.config import WorldConfig
from nmmo_gpu.kernels.launch import INTERPRETED, launch
from nmmo_gpu.world import content
from nmmo_gpu.world import layout as records_layout
from nmmo_gpu.world.layout import ENTITY_ATTRIBUTES, ENTITY_FEATURES, ObservationLayout

SKILLS, SKILLS_PADDED = tl.constexpr(len(content.SKILLS)), tl.constexpr(16)
CONSTITUTION, HEALTH = tl.constexpr(content.CONSTITUTION), tl.constexpr(network_inputs.HEALTH)
THEIR_HEALTH = tl.constexpr(network_inputs.THEIR_HEALTH)
LEVEL_LOG2 = tl.constexpr(float(network_inputs.LEVEL_LOG2))
GOLD_LOG2 = tl.constexpr(float(network_inputs.GOLD_LOG2))
LOOKS, ENTITIES = tl.constexpr(len(ENTITY_ATTRIBUTES)), tl.constexpr(len(ENTITY_FEATURES))
NPC = tl.constexpr(records_layout.NPC)
STRENGTH, RANKS, TOKEN, MOST_HEALTH, IMMUNE = (
    tl.constexpr(ENTITY_ATTRIBUTES.index(name))
    for name in ("combat_level", "sword", "token", "max_health", "immune")
)
RECORDS = 1024 if INTERPRETED else 32
"""Records that one program handles."""


@triton.jit
def log2_scale(values, MANY: tl.constexpr):
    """0 for 0, 1 for about 2 ** MANY."""
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
def look_at(
    kinds, look, entity, into, here, ranks, KINDS: tl.constexpr, WORDS: tl.constexpr, ROW: tl.constexpr,
    ROW_PADDED: tl.constexpr,
):  # fmt: skip
    """Writes a row of the entity table; the first three point to its bytes, [BLOCK, 1]."""
    column = tl.arange(0, ROW_PADDED)[None, :]
    kind = tl.load(kinds, mask=here[:, None], other=0).to(tl.int32)
    there = here[:, None] & (kind > 0)
    strength = tl.load(look + STRENGTH, mask=there, other=0)
    most = tl.load(look + MOST_HEALTH, mask=there, other=0)
    immune = tl.load(look + IMMUNE, mask=there, other=0)
    token = tl.load(look + TOKEN, mask=there, other=0).to(tl.int32)
    health = tl.load(entity + THEIR_HEALTH, mask=there, other=0).to(tl.int8, bitcast=True)
    gear = column - (KINDS + 2)
    worn = tl.load(look + RANKS + gear, mask=there & (gear >= 0) & (gear < 3), other=0)
    values = worn.to(tl.float32) / ranks
    values = tl.where(column == KINDS, log2_scale(strength, LEVEL_LOG2), values)
    values = tl.where(column == KINDS + 1, log2_scale(most, LEVEL_LOG2), values)
    values = tl.where(column == KINDS + 5, immune.to(tl.float32), values)
    share = health.to(tl.float32) / tl.maximum(most.to(tl.float32), 1.0)
    values = tl.where(column == KINDS + 6 + WORDS, share, values)
    said = column - (KINDS + 5)
    one = (column < KINDS) & (kind == NPC + column)
    one = one | ((said >= 1) & (said <= WORDS) & (token == said))
    store(into, column, tl.where(one & there, 1.0, values), here, ROW)


@triton.jit
def _encode_features(
    records, shorts, index, out, rows, capacity, offer_ticks, max_health, ranks,
    BYTES: tl.constexpr, OWN_AT: tl.constexpr, LEVELS_AT: tl.constexpr, GOODS_AT: tl.constexpr,
    INVENTORY_AT: tl.constexpr, OFFER_AT: tl.constexpr, MARKET_AT: tl.constexpr, KIND_AT: tl.constexpr,
    LOOKS_AT: tl.constexpr, ENTITIES_AT: tl.constexpr, SKILLED: tl.constexpr, ITEMS: tl.constexpr,
    ITEMS_PADDED: tl.constexpr, QUOTES_PADDED: tl.constexpr, PRICES: tl.constexpr, KINDS: tl.constexpr,
    WORDS: tl.constexpr, NEAREST: tl.constexpr, BELONGINGS: tl.constexpr, ROW: tl.constexpr,
    ROW_PADDED: tl.constexpr, STRIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Order-free: each number is written by one program."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = place < rows
    line = tl.load(index + place, mask=here, other=0)
    record = records + line[:, None] * BYTES
    own = shorts + line * (BYTES // 2)
    into = out + place[:, None] * STRIDE

    column = tl.arange(0, SKILLS_PADDED)[None, :]
    known = here[:, None] & (column < SKILLS)
    level = tl.load(own[:, None] + LEVELS_AT + column, mask=known, other=0)
    store(into, column, log2_scale(level, LEVEL_LOG2), here, SKILLS)
    health = tl.load(own + OWN_AT + HEALTH, mask=here, other=0).to(tl.float32)
    if SKILLED:
        most = tl.load(own + LEVELS_AT + CONSTITUTION, mask=here, other=0).to(tl.float32)
    else:
        most = tl.zeros([BLOCK], tl.float32) + max_health
    store_one(into + SKILLS, health / tl.maximum(most, 1.0), here)
    gold = tl.load(own + GOODS_AT, mask=here, other=0)
    store_one(into + SKILLS + 1, log2_scale(gold, GOLD_LOG2), here)
    room = tl.load(own + GOODS_AT + 1, mask=here, other=0).to(tl.float32)
    store_one(into + SKILLS + 2, room / capacity, here)

    into += SKILLS + 3
    column = tl.arange(0, ITEMS_PADDED)[None, :]
    known = here[:, None] & (column < ITEMS)
    held = tl.load(own[:, None] + INVENTORY_AT + column, mask=known, other=0)
    store(into, column, tl.minimum(held.to(tl.float32), capacity) / capacity, here, ITEMS)
    store(into + ITEMS, column, (held > 0).to(tl.float32), here, ITEMS)
    into += 2 * ITEMS
    side = tl.load(own + OFFER_AT, mask=here, other=0)
    store_one(into, (side == 1).to(tl.float32), here)
    store_one(into + 1, (side == 2).to(tl.float32), here)
    price = tl.load(own + OFFER_AT + 2, mask=here, other=0).to(tl.float32)
    store_one(into + 2, price / PRICES, here)
    left = tl.load(own + OFFER_AT + 3, mask=here, other=0).to(tl.float32)
    store_one(into + 3, left / offer_ticks, here)
    item = tl.load(own + OFFER_AT + 1, mask=here, other=0)[:, None]
    store(into + 4, column, (item == column + 1).to(tl.float32), here, ITEMS)
    into += 4 + ITEMS
    column = tl.arange(0, QUOTES_PADDED)[None, :]
    quoted = tl.load(record + MARKET_AT + column, mask=here[:, None] & (column < 3 * ITEMS), other=0)
    # No ask counts as higher than the highest price.
    quoted = tl.where((column % 3 == 1) & (quoted == 0), PRICES + 1, quoted.to(tl.int32))
    store(into, column, quoted.to(tl.float32) / PRICES, here, 3 * ITEMS)

    into += 3 * ITEMS
    for k in range(NEAREST):
        look_at(
            record + KIND_AT + k, record + LOOKS_AT + k * LOOKS, record + ENTITIES_AT + k * ENTITIES,
            into + k * ROW, here, ranks, KINDS, WORDS, ROW, ROW_PADDED,
        )  # fmt: skip


def encode_features(records: Tensor, index: Tensor, config: WorldConfig, out: Tensor) -> None:
    """See ``nmmo_gpu.train.features.encode_features``.

    Args:
        records: [rows, bytes] uint8. index: [P, B] int64, contiguous.
        out: [P, B, n] of a floating dtype, columns of a contiguous matrix, into which the result is
            written."""
    at = {name: field.offset for name, field in ObservationLayout(config).fields.items()}
    self_attributes = network_inputs.self_attributes_width(config)
    row = network_inputs.entity_attributes_width(config)
    assert out.shape == (*index.shape, network_inputs.attributes_width(config))
    items = len(config.content.items)
    launch(
        _encode_features, triton.cdiv(index.numel(), RECORDS), records, records.view(torch.int16), index,
        out, index.numel(), config.capacity, config.offer_ticks, config.max_health,
        max(1, *map(len, config.tables.gear)),
        BYTES=records.shape[-1], OWN_AT=at["self"] // 2, LEVELS_AT=at["levels"] // 2,
        GOODS_AT=at["goods"] // 2, INVENTORY_AT=at["inventory"] // 2, OFFER_AT=at["offer"] // 2,
        MARKET_AT=at["market"], KIND_AT=at["entity_kind"], LOOKS_AT=at["entity_attributes"],
        ENTITIES_AT=at["entities"], SKILLED=config.skills, ITEMS=items,
        ITEMS_PADDED=triton.next_power_of_2(max(1, items)),
        QUOTES_PADDED=triton.next_power_of_2(max(1, 3 * items)),
        PRICES=len(config.content.prices), KINDS=network_inputs.npc_kinds(config),
        WORDS=max(0, config.tokens - 1), NEAREST=config.nearest, BELONGINGS=self_attributes, ROW=row,
        ROW_PADDED=triton.next_power_of_2(row), STRIDE=out.stride(1), BLOCK=RECORDS,
    )  # fmt: skip
