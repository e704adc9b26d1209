"""The exchange in three kernels and a sort; twin of ``nmmo_gpu.world.exchange``.

Each agent writes the sort key of its offer in its realm. A sort of these keys per realm puts the books one
after the other, each with the best offers first; bisection finds the start of each book. Then the position of
the k-th ask of a book follows from that of the k-th bid. A realm can therefore span any number of blocks."""

from __future__ import annotations

from collections import namedtuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.content.tables import tensor
from nmmo_gpu.kernels.launch import fields_of, launch, over_elements, over_slots
from nmmo_gpu.kernels.slots import my_agents, my_slots
from nmmo_gpu.world import exchange as rule
from nmmo_gpu.world.events import Event
from nmmo_gpu.world.state import World

_OfferFields = namedtuple(
    "_OfferFields",
    "alive health entity next_entity offer offer_price offer_left inventory gold events",
)
_OfferConfig = namedtuple("_OfferConfig", "npc_slots items events")
_Strides = namedtuple("_Strides", "trade_realm trade_slot price_realm price_slot")
_MeetFields = namedtuple("_MeetFields", "inventory gold events offer offer_price offer_left trades quotes")
_MeetConfig = namedtuple("_MeetConfig", "items events")
"""``events``: event counters per agent."""
_BestFields = namedtuple("_BestFields", "alive health offer offer_price")
Goods = namedtuple("Goods", "lot weight prices")
"""Lots and weights ([items] int32), and prices ([prices] int64)."""

BOOK_BIT, PRICE_BIT, LEFT_BIT = (tl.constexpr(n) for n in (rule.BOOK_BIT, rule.PRICE_BIT, rule.LEFT_BIT))
PRICES, SENIORITIES = tl.constexpr(rule.PRICES), tl.constexpr(rule.SENIORITIES)
NO_OFFER = tl.constexpr(rule.NO_OFFER)
OFFERED, WITHDRAWN, SOLD, BOUGHT = (
    tl.constexpr(int(event)) for event in (Event.OFFERED, Event.WITHDRAWN, Event.SOLD, Event.BOUGHT)
)


# Possible trades. "Back" means: assuming that the open offer has been withdrawn. All functions but ``back``
# work on blocks of any shapes that broadcast.


@triton.jit
def back(world, tables, agent, here, ITEMS: tl.constexpr):
    """Returns (offer: int32; price: int32 index; purse: int64, gold including escrow; freed: int32, units of
    room that the offer reserves and does not need once it is withdrawn). Agents with ``here`` false have no
    offer."""
    code = tl.load(world.offer + agent, mask=here, other=0).to(tl.int32)
    at = tl.load(world.offer_price + agent, mask=here & (code > 0), other=0).to(tl.int32)
    bids = code > ITEMS
    purse = tl.load(world.gold + agent, mask=here, other=0)
    purse += tl.load(tables.prices + at, mask=bids, other=0)
    # The goods in escrow need the room that is reserved for them: a lot weighs one unit, or nothing.
    freed = tl.load(tables.weight + code - 1 - ITEMS, mask=bids, other=0)
    return code, at, purse, freed


@triton.jit
def can_sell(count, lot, offer, item):
    """Returns whether the agent holds a lot of the item; ``count`` is the number it holds."""
    return (offer == 1 + item) | (count >= lot)


@triton.jit
def can_buy(purse, cost, room, weight):
    """Returns whether gold and room suffice, both including what escrow would return."""
    return (purse >= cost) & ((weight == 0) | (room > 0))


@triton.jit
def can_withdraw(offer, offer_left):
    """Returns whether there is an offer that does not expire first."""
    return (offer > 0) & (offer_left > 1)


@triton.jit
def _offers(
    world, tables, trade, price, key, strides, slots, chunks, capacity, offer_ticks, config: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Applies expiry, withdrawals and new offers, and writes the sort key of each offer in its realm.

    Order-free: an agent's fields belong to one program, and each is written once, by the agent's own lane."""
    realm, slot, agent, being, inside = my_agents(slots, chunks, config.npc_slots, BLOCK)
    living = inside & (tl.load(world.alive + being, mask=inside, other=0) != 0)
    living = living & (tl.load(world.health + being, mask=living, other=0) > 0)
    code, at, purse, freed = back(world, tables, agent, living, config.items)
    left = tl.load(world.offer_left + agent, mask=code > 0, other=0).to(tl.int32)
    mine = realm * strides.trade_realm + slot * strides.trade_slot
    choice = tl.load(trade + mine, mask=living, other=0).to(tl.int32)
    sells = (choice > 0) & (choice <= config.items)
    buys = (choice > config.items) & (choice <= 2 * config.items)
    mine = realm * strides.price_realm + slot * strides.price_slot
    want = tl.load(price + mine, mask=sells | buys, other=0).to(tl.int32)
    item = tl.where(sells, choice - 1, choice - 1 - config.items)
    bag = world.inventory + agent * config.items

    lot = tl.load(tables.lot + item, mask=sells, other=0)
    count = tl.load(bag + item, mask=sells, other=0)
    cost = tl.load(tables.prices + want, mask=buys, other=0)
    weight = tl.load(tables.weight + item, mask=buys, other=0)
    room = freed
    if tl.max(weight, 0) > 0:
        kept = tl.load(tables.weight + code - 1, mask=(code > 0) & (code <= config.items), other=0) + freed
        room += capacity - kept
        for i in range(config.items):
            room -= tl.load(bag + i, mask=buys, other=0) * tl.load(tables.weight + i)
    sells = sells & can_sell(count, lot, code, item)
    buys = buys & can_buy(purse, cost, room, weight)
    opens = sells | buys
    does = opens | ((choice > 2 * config.items) & can_withdraw(code, left))
    replaces = does & (code > 0) & (left > 1)
    ends = replaces | ((code > 0) & (left <= 1))

    # If the same item is returned and offered again, its count does not change.
    asked = (code > 0) & (code <= config.items)
    again = sells & ends & (code == choice)
    comes = ends & asked & (again == 0)
    old = tl.load(bag + code - 1, mask=comes, other=0) + tl.load(tables.lot + code - 1, mask=comes, other=0)
    tl.store(bag + code - 1, old, mask=comes)
    tl.store(bag + item, count - lot, mask=sells & (again == 0))
    escrow = tl.load(tables.prices + at, mask=(code > config.items) & (ends == 0), other=0)
    changes = buys | (ends & (code > config.items))
    tl.store(world.gold + agent, purse - escrow - tl.where(buys, cost, 0), mask=changes)

    line = world.events + agent * config.events
    tl.store(line + WITHDRAWN, tl.load(line + WITHDRAWN, mask=replaces, other=0) + 1, mask=replaces)
    tl.store(line + OFFERED, tl.load(line + OFFERED, mask=opens, other=0) + 1, mask=opens)
    changes = opens | (code > 0)
    left = tl.where(opens, offer_ticks, tl.where(ends, 0, left - 1))
    at = tl.where(opens, want, tl.where(ends, 0, at))
    code = tl.where(opens, choice, tl.where(ends, 0, code))
    tl.store(world.offer + agent, code.to(tl.int16), mask=changes)
    tl.store(world.offer_price + agent, at.to(tl.uint8), mask=changes)
    tl.store(world.offer_left + agent, left.to(tl.int16), mask=changes)

    waits = code > 0
    bids = code > config.items
    book = tl.where(bids, 2 * (code - 1 - config.items), 2 * (code - 1) + 1).to(tl.int64)
    rank = tl.where(bids, PRICES - 1 - at, at).to(tl.int64)
    seniority = tl.load(world.entity + being, mask=waits, other=0) - tl.load(world.next_entity + realm)
    seniority += SENIORITIES
    place = (book << BOOK_BIT) | (rank << PRICE_BIT) | (left.to(tl.int64) << LEFT_BIT)
    place = tl.where(waits, place | tl.maximum(seniority, 0), NO_OFFER)
    tl.store(key + agent, place, mask=inside)


@triton.jit
def _edges(key, edges, slots, BOOKS: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr):
    """Finds the start of each book in the sorted keys of a realm by bisection, and the end of the last one.
    Order-free: one entry per lane."""
    realm = tl.program_id(0).to(tl.int64)
    book = tl.arange(0, BLOCK)
    first = book.to(tl.int64) << BOOK_BIT
    low, high = tl.zeros([BLOCK], tl.int32), tl.zeros([BLOCK], tl.int32) + slots
    for _ in range(STEPS):
        middle = (low + high) // 2
        open_ = (low < high) & (book <= BOOKS)
        before = tl.load(key + realm * slots + middle, mask=open_, other=0) < first
        low = tl.where(open_ & before, middle + 1, low)
        high = tl.where(open_ & (before == 0), middle, high)
    tl.store(edges + realm * (BOOKS + 1) + book, low, mask=book <= BOOKS)


@triton.jit
def price_of(place, BIDS: tl.constexpr):
    """Returns the price index of offers, given their sort keys; int32."""
    rank = ((place >> PRICE_BIT) & (PRICES - 1)).to(tl.int32)
    return PRICES - 1 - rank if BIDS else rank


@triton.jit
def settle(world, agent, met, paid, event: tl.constexpr, config: tl.constexpr, BLOCK: tl.constexpr):
    """Pays the matched agents, counts the event, and closes their offers."""
    purse, count = world.gold + agent, world.events + agent * config.events + event
    tl.store(purse, tl.load(purse, mask=met, other=0) + paid, mask=met)
    tl.store(count, tl.load(count, mask=met, other=0) + 1, mask=met)
    tl.store(world.offer + agent, tl.zeros([BLOCK], tl.int16), mask=met)
    tl.store(world.offer_price + agent, tl.zeros([BLOCK], tl.uint8), mask=met)
    tl.store(world.offer_left + agent, tl.zeros([BLOCK], tl.int16), mask=met)


@triton.jit
def _meet(world, tables, key, order, edges, slots, chunks, config: tl.constexpr, BLOCK: tl.constexpr):
    """Makes the trades. Lanes are positions in the sorted order, and the bid's lane does the work for both
    sides.

    Order-free: an agent has one offer, and an offer is matched with one other, so no agent is written twice;
    the sorted keys that decide are only read. Totals are atomic additions of integers; the last price is that
    of the last matched bid, which alone writes it."""
    realm, place, at, inside = my_slots(slots, chunks, BLOCK)
    mine = tl.load(key + at, mask=inside, other=NO_OFFER)
    book = (mine >> BOOK_BIT).to(tl.int32)
    bids = (mine != NO_OFFER) & (book % 2 == 0)
    limits = edges + realm * (2 * config.items + 1) + book
    asks_from = tl.load(limits + 1, mask=bids, other=0)
    asks_to = tl.load(limits + 2, mask=bids, other=0)
    across = asks_from + place - tl.load(limits, mask=bids, other=0)
    there = bids & (across < asks_to)
    line = realm * slots
    other = tl.load(key + line + across, mask=there, other=0)
    bid, ask = price_of(mine, True), price_of(other, False)
    met = there & (bid >= ask)
    if tl.max(met.to(tl.int32), 0) > 0:
        follows = met & (place + 1 < asks_from) & (across + 1 < asks_to)
        next_bid = price_of(tl.load(key + at + 1, mask=follows, other=0), True)
        next_ask = price_of(tl.load(key + line + across + 1, mask=follows, other=0), False)
        last = met & ((follows == 0) | (next_bid < next_ask))

        item = book // 2
        buyer = line + tl.load(order + at, mask=met, other=0)
        seller = line + tl.load(order + line + across, mask=met, other=0)
        paid = tl.load(tables.prices + ask, mask=met, other=0)
        offered = tl.load(tables.prices + bid, mask=met, other=0)
        bag = world.inventory + buyer * config.items + item
        count = tl.load(bag, mask=met, other=0) + tl.load(tables.lot + item, mask=met, other=0)
        tl.store(bag, count, mask=met)
        settle(world, buyer, met, offered - paid, BOUGHT, config, BLOCK)
        settle(world, seller, met, paid, SOLD, config, BLOCK)
        total = world.trades + (realm * config.items + item) * 2
        tl.atomic_add(total, tl.full([BLOCK], 1, tl.int64), mask=met, sem="relaxed")
        tl.atomic_add(total + 1, paid, mask=met, sem="relaxed")
        tl.store(world.quotes + (realm * config.items + item) * 3 + 2, (ask + 1).to(tl.uint8), mask=last)


@triton.jit
def _best(world, best, slots, chunks, NPCS: tl.constexpr, ITEMS: tl.constexpr, BLOCK: tl.constexpr):
    """Finds the best bid and ask of each item, as numbers of which the largest is the best and 0 means none:
    1 + the price index for a bid, PRICES - the price index for an ask.

    Order-free: atomic maxima of integers."""
    realm, _, agent, being, inside = my_agents(slots, chunks, NPCS, BLOCK)
    code = tl.load(world.offer + agent, mask=inside, other=0).to(tl.int32)
    waits = (code > 0) & (tl.load(world.alive + being, mask=inside, other=0) != 0)
    waits = waits & (tl.load(world.health + being, mask=waits, other=0) > 0)
    at = tl.load(world.offer_price + agent, mask=waits, other=0).to(tl.int32)
    bids = code > ITEMS
    worth = tl.where(bids, 1 + at, PRICES - at)
    entry = tl.where(bids, 2 * (code - 1 - ITEMS), 2 * (code - 1) + 1)
    tl.atomic_max(best + realm * (2 * ITEMS) + entry, worth, mask=waits, sem="relaxed")


@triton.jit
def _quotes(best, quotes, n, BLOCK: tl.constexpr):
    """Converts the best offers to quotes; resets ``best`` to zeros. Order-free: one item of one realm per
    lane."""
    entry = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = entry < n
    bid = tl.load(best + 2 * entry, mask=here, other=0)
    ask = tl.load(best + 2 * entry + 1, mask=here, other=0)
    tl.store(quotes + 3 * entry, bid.to(tl.uint8), mask=here)
    tl.store(quotes + 3 * entry + 1, tl.where(ask > 0, PRICES + 1 - ask, 0).to(tl.uint8), mask=here)
    tl.store(best + 2 * entry, tl.zeros([BLOCK], tl.int32), mask=here)
    tl.store(best + 2 * entry + 1, tl.zeros([BLOCK], tl.int32), mask=here)


def tables(world: World) -> Goods:
    """Returns the exchange's tables on the world's device."""
    content, device = world.config.tables, world.device
    return Goods(
        tensor(content.lot, device, torch.int32), tensor(content.weight, device, torch.int32),
        tensor(content.prices, device),
    )  # fmt: skip


def exchange(world: World, trade: Tensor, price: Tensor) -> None:
    """See ``nmmo_gpu.world.exchange.exchange``."""
    cfg, items = world.config, len(world.config.tables.items)
    if items == 0:
        return
    shape = tuple(world.offer.shape)
    cut = over_slots(*shape)
    goods = tables(world)
    key = world.workspace("offers", shape, torch.int64)
    ordered = world.workspace("offers in order", shape, torch.int64)
    order = world.workspace("who offers, in order", shape, torch.int64)
    edges = world.workspace("where books begin", (world.realms, 2 * items + 1), torch.int32)
    launch(
        _offers, cut.programs, fields_of(_OfferFields, world), goods, trade, price, key,
        _Strides(*trade.stride(), *price.stride()), cut.slots, cut.chunks, cfg.capacity, cfg.offer_ticks,
        config=_OfferConfig(cfg.npc_slots, items, world.events.shape[-1]), BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
    torch.sort(key, dim=1, out=(ordered, order))
    launch(
        _edges, world.realms, ordered, edges, cut.slots, BOOKS=2 * items, STEPS=cut.slots.bit_length(),
        BLOCK=triton.next_power_of_2(2 * items + 1), warps=1,
    )  # fmt: skip
    launch(
        _meet, cut.programs, fields_of(_MeetFields, world), goods, ordered, order, edges, cut.slots,
        cut.chunks, config=_MeetConfig(items, world.events.shape[-1]), BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip


def quotes(world: World) -> None:
    """See ``nmmo_gpu.world.exchange.quotes``."""
    cfg, items = world.config, len(world.config.tables.items)
    if items == 0:
        return
    cut = over_slots(*world.offer.shape)
    best = world.workspace("best offers", (world.realms, items, 2), torch.int32, fill=0)
    launch(
        _best, cut.programs, fields_of(_BestFields, world), best, cut.slots, cut.chunks,
        NPCS=cfg.npc_slots, ITEMS=items, BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
    programs, block = over_elements(world.realms * items)
    launch(_quotes, programs, best, world.quotes, world.realms * items, BLOCK=block)
