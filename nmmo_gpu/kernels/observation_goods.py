"""Observation of the full game, in three kernels; twin of ``nmmo_gpu.world.observation_goods``."""

from __future__ import annotations

from collections import namedtuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu import content
from nmmo_gpu.content import GEAR, SKILLS, WORKS
from nmmo_gpu.content.tables import tensor
from nmmo_gpu.kernels.exchange import back, can_buy, can_sell, can_withdraw
from nmmo_gpu.kernels.inventory import room
from nmmo_gpu.kernels.launch import agents_per_program, fields_of, launch, over_slots
from nmmo_gpu.kernels.slots import my_agents, my_slots, tile_of
from nmmo_gpu.kernels.work import book, book_config, possible_works
from nmmo_gpu.world import observation_goods as rule
from nmmo_gpu.world.npcs import kind_of_slot
from nmmo_gpu.world.observation_layout import GOODS_FEATURES, OFFER_FEATURES, STYLES, ObservationLayout
from nmmo_gpu.world.state import World

_LookFields = namedtuple("_LookFields", "age level worn token")
_LookConfig = namedtuple("_LookConfig", "immune_ticks max_health skills npc_slots")
_Kinds = namedtuple("_Kinds", "of_slot health")
"""The kind of each slot, and the health of each kind."""
_GoodsFields = namedtuple(
    "_GoodsFields",
    "alive row col level inventory gold offer offer_price offer_left quotes shore material",
)
_GoodsConfig = namedtuple(
    "_GoodsConfig",
    "npc_slots items prices work_bits recipes meals exchange weightless height width",
)
"""``prices``, ``items`` and others: see ``book_config``; ``weightless``: whether an item weighs nothing."""
_GoodsTables = namedtuple("_GoodsTables", "lot weight prices recipes meals")
"""See ``nmmo_gpu.kernels.exchange.Goods`` and ``nmmo_gpu.kernels.work.Book``."""
_Prospects = namedtuple("_Prospects", "room works")
"""[R, A] int32 each: free units of the inventory, and the works that would have an effect, one bit each."""
_GoodsLayout = namedtuple("_GoodsLayout", "bytes levels market masks mask_count")
"""The length of a record, offsets of fields and of the first mask in it, and the bytes of these masks."""
_GoodsPadded = namedtuple("_GoodsPadded", "shorts market masks")
"""Powers of two: numbers of int16, of quotes and of masks."""
_Records = namedtuple("_Records", "bytes shorts")
"""The same records as uint8 and as int16."""

STYLE_COUNT, SKILL_COUNT, GEAR_COUNT, WORK_COUNT, GOODS_COUNT, OFFER_COUNT = (
    tl.constexpr(len(names)) for names in (STYLES, SKILLS, GEAR, WORKS, GOODS_FEATURES, OFFER_FEATURES)
)
DEFENSE, CONSTITUTION = tl.constexpr(content.DEFENSE), tl.constexpr(content.CONSTITUTION)
LARGEST_BYTE, LARGEST_SHORT = tl.constexpr(127), tl.constexpr(rule.LARGEST_SHORT)


@triton.jit
def look_at(value, PLACE: tl.constexpr):
    """Returns a nonnegative value, clamped to 127, as byte number PLACE of an int64 word."""
    return tl.minimum(value.to(tl.int64), LARGEST_BYTE) << (8 * PLACE)


@triton.jit
def combat_level(defense, constitution, best_style):
    """See ``nmmo_gpu.content.tables.combat_level``; int32."""
    return (5 * (defense + constitution) + 13 * best_style) // 20


@triton.jit
def _looks(world, kinds, entity_attributes, slots, chunks, agents, config: tl.constexpr, BLOCK: tl.constexpr):
    """Writes one word per slot of agents and NPCs, with the ``ENTITY_ATTRIBUTES`` of
    ``nmmo_gpu.world.observation_layout``.

    Order-free: each slot is written only by its own program."""
    realm, slot, being, inside = my_slots(slots, chunks, BLOCK)
    levels = world.level + being * SKILL_COUNT
    best = tl.load(levels, mask=inside, other=0).to(tl.int32)
    for style in tl.static_range(1, STYLE_COUNT):
        best = tl.maximum(best, tl.load(levels + style, mask=inside, other=0).to(tl.int32))
    body = tl.load(levels + CONSTITUTION, mask=inside, other=0).to(tl.int32)
    defense = tl.load(levels + DEFENSE, mask=inside, other=0).to(tl.int32)
    look = look_at(combat_level(defense, body, best), 1)

    plays = inside & (slot < agents)
    agent = realm * agents + slot
    for gear in tl.static_range(GEAR_COUNT):
        rank = tl.load(world.worn + agent * GEAR_COUNT + gear, mask=plays, other=0)
        look |= look_at(rank, 2) << (8 * gear)
    look |= look_at(tl.load(world.token + agent, mask=plays, other=0), 5)
    max_health = body if config.skills else tl.full([BLOCK], config.max_health, tl.int32)
    young = plays & (tl.load(world.age + being, mask=plays, other=0) < config.immune_ticks)
    look |= look_at(young, 7)
    if config.npc_slots > 0:
        kind = tl.load(kinds.of_slot + slot, mask=inside, other=-1)
        look |= look_at(kind + 1, 0)
        max_health = tl.where(plays, max_health, tl.load(kinds.health + kind, mask=kind >= 0, other=0))
    tl.store(entity_attributes + being, look | look_at(max_health, 6), mask=inside)


@triton.jit
def _prospects(
    world, tables, prospects, slots, chunks, capacity, config: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Writes the free room of each agent, and the works that would have an effect, one bit each; zeros for
    dead agents. One thread per agent computes them, which ``_goods`` would do in every lane.

    Order-free: each agent is written only by its own program."""
    realm, _, agent, being, inside = my_agents(slots, chunks, config.npc_slots, BLOCK)
    living = inside & (tl.load(world.alive + being, mask=inside, other=0) != 0)
    space = room(world, agent, living, tables.weight, capacity, config.items)
    tl.store(prospects.room + agent, tl.where(living, space, 0), mask=inside)
    if config.work_bits > 0:
        tile = realm * (config.height * config.width) + tile_of(world, being, living, config)
        works = possible_works(world, tables, agent, being, tile, living, space, config)
        tl.store(prospects.works + agent, tl.where(living, works, 0), mask=inside)


@triton.jit
def _goods(
    world, tables, prospects, records, slots, chunks, config: tl.constexpr, layout: tl.constexpr,
    padded: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes levels, goods, offer, market, and masks of work, trade, price and token; zeros for dead agents.

    Order-free: an agent's record is written by one program, and each element by one lane."""
    realm, _, agent, being, inside = my_agents(slots, chunks, config.npc_slots, BLOCK)
    living = inside & (tl.load(world.alive + being, mask=inside, other=0) != 0)
    code, at, purse, freed = back(world, tables, agent, living, config.items)
    bids = code > config.items
    about = tl.where(bids, code - config.items, code) - 1
    left = tl.load(world.offer_left + agent, mask=code > 0, other=0).to(tl.int32)

    # Consecutive int16 values: levels, gold, room, inventory, offer.
    FIRST_ITEM: tl.constexpr = SKILL_COUNT + GOODS_COUNT
    OFFER: tl.constexpr = FIRST_ITEM + config.items
    lane = tl.arange(0, padded.shorts)[None, :]
    trained = living[:, None] & (lane < SKILL_COUNT)
    value = tl.load(world.level + being[:, None] * SKILL_COUNT + lane, mask=trained, other=0).to(tl.int32)
    item = lane - FIRST_ITEM
    in_bag = (item >= 0) & (item < config.items)
    bag = world.inventory + agent[:, None] * config.items
    held = tl.load(bag + item, mask=living[:, None] & in_bag, other=0)
    space = tl.load(prospects.room + agent, mask=living, other=0)
    value = tl.where(in_bag, tl.minimum(held, LARGEST_SHORT), value)
    own = tl.load(world.gold + agent, mask=living, other=0)
    value = tl.where(lane == SKILL_COUNT, tl.minimum(own, LARGEST_SHORT).to(tl.int32)[:, None], value)
    value = tl.where(lane == SKILL_COUNT + 1, space[:, None], value)
    side = tl.where(code > 0, 1, 0) + tl.where(bids, 1, 0)
    value = tl.where(lane == OFFER, side[:, None], value)
    value = tl.where(lane == OFFER + 1, tl.where(code > 0, 1 + about, 0)[:, None], value)
    value = tl.where(lane == OFFER + 2, tl.where(code > 0, 1 + at, 0)[:, None], value)
    value = tl.where(lane == OFFER + 3, left[:, None], value)
    written = inside[:, None] & (lane < OFFER + OFFER_COUNT)
    into = records.shorts + agent[:, None] * (layout.bytes // 2) + layout.levels // 2
    tl.store(into + lane, value.to(tl.int16), mask=written)

    record = records.bytes + agent[:, None] * layout.bytes
    if config.items > 0:
        lane = tl.arange(0, padded.market)[None, :]
        on_sale = lane < 3 * config.items
        quote = tl.load(world.quotes + realm * (3 * config.items) + lane, mask=on_sale, other=0)
        quote = tl.where(living[:, None], quote, tl.zeros_like(quote))
        tl.store(record + layout.market + lane, quote, mask=inside[:, None] & on_sale)

    if layout.mask_count > 0:
        lane = tl.arange(0, padded.masks)[None, :]
        flag = living[:, None] & (lane >= 0)  # the last mask, that of tokens, is always set
        FIRST_TRADE: tl.constexpr = WORK_COUNT if config.work_bits > 0 else 0
        if config.work_bits > 0:
            works = tl.load(prospects.works + agent, mask=living, other=0)
            can = ((works[:, None] >> tl.minimum(lane, 31)) & 1) != 0
            flag = flag & ((lane >= WORK_COUNT) | can)
        if config.exchange:
            # The mask of trades (none, sales, purchases, withdrawal), then three rows of prices.
            trade = lane - FIRST_TRADE
            sale, buy = trade - 1, trade - 1 - config.items
            sells, buys = (sale >= 0) & (sale < config.items), (buy >= 0) & (buy < config.items)
            held = tl.load(bag + sale, mask=living[:, None] & sells, other=0)
            can = can_sell(held, tl.load(tables.lot + sale, mask=sells, other=0), code[:, None], sale)
            flag = flag & ((sells == 0) | can)
            spare = space + freed
            weight = tl.load(tables.weight + buy, mask=buys, other=0)
            can = can_buy(purse[:, None], tl.load(tables.prices), spare[:, None], weight)
            flag = flag & ((buys == 0) | can)
            flag = flag & ((trade != 2 * config.items + 1) | can_withdraw(code, left)[:, None])
            place = trade - (2 * config.items + 2)
            priced = (place >= 0) & (place < 3 * config.prices)
            of_side, price = place // config.prices, place % config.prices
            bidding = priced & (of_side == 2)
            solvent = (purse >= tl.load(tables.prices)) & (config.items > 0)
            solvent = solvent & ((spare > 0) | config.weightless)
            can = solvent[:, None] & (purse[:, None] >= tl.load(tables.prices + price, mask=bidding, other=0))
            can = (price == 0) | (of_side == 1) | ((of_side == 2) & can)
            flag = flag & ((priced == 0) | can)
        written = inside[:, None] & (lane < layout.mask_count)
        tl.store(record + layout.masks + lane, flag.to(tl.uint8), mask=written)


def looks_of(world: World) -> Tensor:
    """Returns [R, S] int64, a workspace: ``nmmo_gpu.world.observation_goods.entity_attributes`` of living
    entities."""
    cfg, device = world.config, world.device
    entity_attributes = world.workspace("entity_attributes", (world.realms, cfg.entities), torch.int64)
    health = tuple(kind.health for kind in cfg.tables.npcs) or (0,)
    cut = over_slots(world.realms, cfg.entities)
    launch(
        _looks, cut.programs, fields_of(_LookFields, world),
        _Kinds(kind_of_slot(cfg, device), tensor(health, device)), entity_attributes, cut.slots, cut.chunks,
        cfg.slots, config=fields_of(_LookConfig, cfg), BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
    return entity_attributes


def goods(world: World, records: Tensor, layout: ObservationLayout) -> None:
    """Writes the fields of the full game to the records, except the attributes of other entities."""
    cfg, device, known = world.config, world.device, world.config.tables
    at = {name: field.offset for name, field in layout.fields.items()}
    tables = fields_of(
        _GoodsTables, book(cfg.content, device), lot=tensor(known.lot or (0,), device, torch.int32),
        prices=tensor(known.prices, device),
    )  # fmt: skip
    counts = book_config(cfg)
    first_mask = at["alive"] + 1
    masks = layout.stock_bytes - first_mask
    items = counts["items"]
    shorts = len(SKILLS) + len(GOODS_FEATURES) + items + len(OFFER_FEATURES)
    padded = _GoodsPadded(*(triton.next_power_of_2(max(1, n)) for n in (shorts, 3 * items, masks)))
    cut = over_slots(world.realms, cfg.slots, agents_per_program(8 * max(padded)))
    config = fields_of(
        _GoodsConfig, cfg, prices=len(known.prices), weightless=0 in known.weight, **counts
    )  # fmt: skip
    shape = (world.realms, cfg.slots)
    prospects = _Prospects(*(world.workspace(name, shape, torch.int32) for name in ("room", "works")))
    whole = over_slots(world.realms, cfg.slots)
    launch(
        _prospects, whole.programs, fields_of(_GoodsFields, world), tables, prospects, whole.slots,
        whole.chunks, cfg.capacity, config=config, BLOCK=whole.block, warps=whole.warps,
    )  # fmt: skip
    launch(
        _goods, cut.programs, fields_of(_GoodsFields, world), tables, prospects,
        _Records(records, records.view(torch.int16)), cut.slots, cut.chunks, config=config,
        layout=_GoodsLayout(layout.bytes, at["levels"], at["market"], first_mask, masks), padded=padded,
        BLOCK=cut.block, warps=1,
    )  # fmt: skip
