"""Observation of the full game, in two kernels; twin of ``nmmo_gpu.world.observation_goods``."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu import content
from nmmo_gpu.content import GEAR, SKILLS, WORKS
from nmmo_gpu.content.tables import tensor
from nmmo_gpu.kernels.exchange import back, can_buy, can_sell, can_withdraw
from nmmo_gpu.kernels.launch import agents_per_program, launch, over_slots
from nmmo_gpu.kernels.movement import map_size
from nmmo_gpu.kernels.slots import my_agents, my_slots
from nmmo_gpu.kernels.work import book, possible_works, works_there
from nmmo_gpu.world import observation_goods as rule
from nmmo_gpu.world.layout import GOODS_FEATURES, OFFER_FEATURES, STYLES, ObservationLayout
from nmmo_gpu.world.npcs import kind_of_slot
from nmmo_gpu.world.state import World

STYLE_COUNT, SKILL_COUNT, GEAR_COUNT, WORK_COUNT, GOODS_COUNT, OFFER_COUNT = (
    tl.constexpr(len(names)) for names in (STYLES, SKILLS, GEAR, WORKS, GOODS_FEATURES, OFFER_FEATURES)
)
DEFENSE, CONSTITUTION = tl.constexpr(content.DEFENSE), tl.constexpr(content.CONSTITUTION)
LARGEST_BYTE, LARGEST_SHORT = tl.constexpr(127), tl.constexpr(rule.LARGEST_SHORT)


@triton.jit
def look_at(value, PLACE: tl.constexpr):
    """A value of 0 to 127 or more as byte number PLACE of an int64 word."""
    return tl.minimum(value.to(tl.int64), LARGEST_BYTE) << (8 * PLACE)


@triton.jit
def combat_level(defense, constitution, best_style):
    """See ``nmmo_gpu.content.tables.combat_level``; int32."""
    return (5 * (defense + constitution) + 13 * best_style) // 20


@triton.jit
def _looks(
    age, level, worn, token, kind_of, health_of, entity_attributes, slots, chunks, agents,
    IMMUNE_TICKS: tl.constexpr, MAX_HEALTH: tl.constexpr, SKILLED: tl.constexpr, NPCS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """One word per slot of agents and NPCs: see ``nmmo_gpu.world.layout.ENTITY_ATTRIBUTES``.

    Order-free: each slot is written only by its own program."""
    realm, slot, being, inside = my_slots(slots, chunks, BLOCK)
    levels = level + being * SKILL_COUNT
    best = tl.load(levels, mask=inside, other=0).to(tl.int32)
    for style in tl.static_range(1, STYLE_COUNT):
        best = tl.maximum(best, tl.load(levels + style, mask=inside, other=0).to(tl.int32))
    body = tl.load(levels + CONSTITUTION, mask=inside, other=0).to(tl.int32)
    defense = tl.load(levels + DEFENSE, mask=inside, other=0).to(tl.int32)
    look = look_at(combat_level(defense, body, best), 1)

    plays = inside & (slot < agents)
    agent = realm * agents + slot
    for gear in tl.static_range(GEAR_COUNT):
        rank = tl.load(worn + agent * GEAR_COUNT + gear, mask=plays, other=0)
        look |= look_at(rank, 2) << (8 * gear)
    look |= look_at(tl.load(token + agent, mask=plays, other=0), 5)
    most = body if SKILLED else tl.full([BLOCK], MAX_HEALTH, tl.int32)
    young = plays & (tl.load(age + being, mask=plays, other=0) < IMMUNE_TICKS)
    look |= look_at(young, 7)
    if NPCS > 0:
        kind = tl.load(kind_of + slot, mask=inside, other=-1)
        look |= look_at(kind + 1, 0)
        most = tl.where(plays, most, tl.load(health_of + kind, mask=kind >= 0, other=0))
    tl.store(entity_attributes + being, look | look_at(most, 6), mask=inside)


@triton.jit
def _goods(
    alive, row, col, level, inventory, gold, offer, offer_price, offer_left, quotes, shore, material,
    recipes, meals, lots, weights, prices, records, shorts, slots, chunks, capacity,
    NPCS: tl.constexpr, ITEMS: tl.constexpr, PRICES: tl.constexpr,
    WORKS_THERE: tl.constexpr, RECIPES: tl.constexpr, MEALS: tl.constexpr, EXCHANGE: tl.constexpr,
    WEIGHTLESS: tl.constexpr, BYTES: tl.constexpr, LEVELS_AT: tl.constexpr, MARKET_AT: tl.constexpr,
    MASKS_AT: tl.constexpr, MASKS: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
    BLOCK: tl.constexpr, SHORTS_PADDED: tl.constexpr, MARKET_PADDED: tl.constexpr,
    MASKS_PADDED: tl.constexpr,
):  # fmt: skip
    """Levels, goods, offer, market, and masks of work, trade, price and token; zeros for dead agents.
    ``shorts`` are the records as int16.

    Order-free: an agent's record is written by one program, and each element by one lane."""
    realm, _, agent, being, inside = my_agents(slots, chunks, NPCS, BLOCK)
    living = inside & (tl.load(alive + being, mask=inside, other=0) != 0)
    code, at, purse, freed = back(agent, living, offer, offer_price, gold, weights, prices, ITEMS)
    bids = code > ITEMS
    about = tl.where(bids, code - ITEMS, code) - 1
    left = tl.load(offer_left + agent, mask=code > 0, other=0).to(tl.int32)

    # Levels, gold and room, inventory, offer: int16, one after the other.
    FIRST_ITEM: tl.constexpr = SKILL_COUNT + GOODS_COUNT
    OFFER: tl.constexpr = FIRST_ITEM + ITEMS
    lane = tl.arange(0, SHORTS_PADDED)[None, :]
    trained = living[:, None] & (lane < SKILL_COUNT)
    value = tl.load(level + being[:, None] * SKILL_COUNT + lane, mask=trained, other=0).to(tl.int32)
    item = lane - FIRST_ITEM
    in_bag = (item >= 0) & (item < ITEMS)
    held = tl.load(inventory + agent[:, None] * ITEMS + item, mask=living[:, None] & in_bag, other=0)
    taken = held * tl.load(weights + item, mask=in_bag, other=0)
    kept = tl.load(weights + about, mask=code > 0, other=0)
    space = tl.where(living, capacity - tl.sum(taken, 1) - kept, 0)
    value = tl.where(in_bag, tl.minimum(held, LARGEST_SHORT), value)
    own = tl.load(gold + agent, mask=living, other=0)
    value = tl.where(lane == SKILL_COUNT, tl.minimum(own, LARGEST_SHORT).to(tl.int32)[:, None], value)
    value = tl.where(lane == SKILL_COUNT + 1, space[:, None], value)
    side = tl.where(code > 0, 1, 0) + tl.where(bids, 1, 0)
    value = tl.where(lane == OFFER, side[:, None], value)
    value = tl.where(lane == OFFER + 1, tl.where(code > 0, 1 + about, 0)[:, None], value)
    value = tl.where(lane == OFFER + 2, tl.where(code > 0, 1 + at, 0)[:, None], value)
    value = tl.where(lane == OFFER + 3, left[:, None], value)
    written = inside[:, None] & (lane < OFFER + OFFER_COUNT)
    tl.store(shorts + agent[:, None] * (BYTES // 2) + LEVELS_AT // 2 + lane, value.to(tl.int16), mask=written)

    record = records + agent[:, None] * BYTES
    if ITEMS > 0:
        lane = tl.arange(0, MARKET_PADDED)[None, :]
        on_sale = lane < 3 * ITEMS
        quote = tl.load(quotes + realm * (3 * ITEMS) + lane, mask=on_sale, other=0)
        quote = tl.where(living[:, None], quote, tl.zeros_like(quote))
        tl.store(record + MARKET_AT + lane, quote, mask=inside[:, None] & on_sale)

    if MASKS > 0:
        lane = tl.arange(0, MASKS_PADDED)[None, :]
        flag = living[:, None] & (lane >= 0)  # the last mask, that of tokens, is always set
        FIRST_TRADE: tl.constexpr = WORK_COUNT if WORKS_THERE > 0 else 0
        if WORKS_THERE > 0:
            here = tl.load(row + being, mask=living, other=0) * WIDTH
            tile = realm * (HEIGHT * WIDTH) + here + tl.load(col + being, mask=living, other=0)
            works = possible_works(
                agent, being, tile, living, space, level, inventory, shore, material, recipes, meals,
                WORKS_THERE, RECIPES, MEALS, ITEMS, HEIGHT, WIDTH,
            )  # fmt: skip
            can = ((works[:, None] >> tl.minimum(lane, 31)) & 1) != 0
            flag = flag & ((lane >= WORK_COUNT) | can)
        if EXCHANGE:
            # Nothing, sales, buys, withdrawing; then three rows of prices.
            trade = lane - FIRST_TRADE
            sale, buy = trade - 1, trade - 1 - ITEMS
            sells, buys = (sale >= 0) & (sale < ITEMS), (buy >= 0) & (buy < ITEMS)
            held = tl.load(
                inventory + agent[:, None] * ITEMS + sale, mask=living[:, None] & sells, other=0
            )  # fmt: skip
            can = can_sell(held, tl.load(lots + sale, mask=sells, other=0), code[:, None], sale)
            flag = flag & ((sells == 0) | can)
            room = space + freed
            weight = tl.load(weights + buy, mask=buys, other=0)
            can = can_buy(purse[:, None], tl.load(prices), room[:, None], weight)
            flag = flag & ((buys == 0) | can)
            flag = flag & ((trade != 2 * ITEMS + 1) | can_withdraw(code, left)[:, None])
            place = trade - (2 * ITEMS + 2)
            priced = (place >= 0) & (place < 3 * PRICES)
            of_side, price = place // PRICES, place % PRICES
            bidding = priced & (of_side == 2)
            solvent = (purse >= tl.load(prices)) & (ITEMS > 0) & ((room > 0) | WEIGHTLESS)
            can = solvent[:, None] & (purse[:, None] >= tl.load(prices + price, mask=bidding, other=0))
            can = (price == 0) | (of_side == 1) | ((of_side == 2) & can)
            flag = flag & ((priced == 0) | can)
        tl.store(record + MASKS_AT + lane, flag.to(tl.uint8), mask=inside[:, None] & (lane < MASKS))


def looks_of(world: World) -> Tensor:
    """[R, S] int64, a workspace: ``nmmo_gpu.world.observation_goods.entity_attributes`` of living
    entities."""
    cfg, device = world.config, world.device
    entity_attributes = world.workspace("entity_attributes", (world.realms, cfg.entities), torch.int64)
    health = tuple(kind.health for kind in cfg.tables.npcs) or (0,)
    cut = over_slots(world.realms, cfg.entities)
    launch(
        _looks, cut.programs, world.age, world.level, world.worn, world.token, kind_of_slot(cfg, device),
        tensor(health, device), entity_attributes, cut.slots, cut.chunks, cfg.slots,
        IMMUNE_TICKS=cfg.immune_ticks,
        MAX_HEALTH=cfg.max_health, SKILLED=cfg.skills, NPCS=cfg.npc_slots, BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
    return entity_attributes


def goods(world: World, records: Tensor, layout: ObservationLayout) -> None:
    """Writes the fields of the full game to the records, except the attributes of other entities."""
    cfg, device, known = world.config, world.device, world.config.tables
    items = len(known.items)
    at = {name: field.offset for name, field in layout.fields.items()}
    recipes, meals, recipe_count, meal_count = book(cfg.content, device)
    lots, weights = (tensor(column or (0,), device, torch.int32) for column in (known.lot, known.weight))
    first_mask = at["alive"] + 1
    masks = layout.header_bytes - first_mask
    shorts_padded, market_padded, masks_padded = (
        triton.next_power_of_2(max(1, n))
        for n in (len(SKILLS) + len(GOODS_FEATURES) + items + len(OFFER_FEATURES), 3 * items, masks)
    )
    cut = over_slots(
        world.realms, cfg.slots, agents_per_program(2 * max(shorts_padded, market_padded, masks_padded))
    )
    launch(
        _goods, cut.programs, world.alive, world.row, world.col, world.level, world.inventory, world.gold,
        world.offer, world.offer_price, world.offer_left, world.quotes, world.shore, world.material,
        recipes, meals, lots, weights, tensor(known.prices, device), records, records.view(torch.int16),
        cut.slots, cut.chunks, cfg.capacity, NPCS=cfg.npc_slots, ITEMS=items, PRICES=len(known.prices),
        WORKS_THERE=works_there(cfg.works), RECIPES=recipe_count, MEALS=meal_count,
        EXCHANGE=cfg.exchange, WEIGHTLESS=0 in known.weight, BYTES=layout.bytes, LEVELS_AT=at["levels"],
        MARKET_AT=at["market"], MASKS_AT=first_mask, MASKS=masks, BLOCK=cut.block,
        SHORTS_PADDED=shorts_padded, MARKET_PADDED=market_padded, MASKS_PADDED=masks_padded,
        **map_size(world),
    )  # fmt: skip
