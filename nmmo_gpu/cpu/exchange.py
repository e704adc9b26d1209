"""The exchange as compiled loops; twin of ``nmmo_gpu.world.exchange``."""

from collections import namedtuple
from functools import cache
from typing import Any

import numpy as np
from torch import Tensor

from nmmo_gpu.content.tables import Tables
from nmmo_gpu.cpu.compile import arrays_of, compiled, fields_of
from nmmo_gpu.cpu.inventory import room
from nmmo_gpu.cpu.threads import cut, parallel, realm_slices, shared
from nmmo_gpu.world import exchange as rule
from nmmo_gpu.world.events import Event
from nmmo_gpu.world.state import World

_OfferFields = namedtuple(
    "_OfferFields",
    "alive health offer offer_price offer_left inventory gold events",
)
_OfferConfig = namedtuple("_OfferConfig", "capacity offer_ticks")
_MatchFields = namedtuple(
    "_MatchFields",
    "entity next_entity alive health offer offer_price offer_left inventory gold events trades quotes",
)
_QuoteFields = namedtuple("_QuoteFields", "alive health offer offer_price quotes")
Goods = namedtuple("Goods", "lot weight prices")
"""Lots and weights ([items] int32), and prices ([prices] int64)."""
_Choices = namedtuple("_Choices", "trade price")
"""[R, A] integers."""
Offer = namedtuple("Offer", "code price left")
"""The open offer of an agent: its ``offer``, ``offer_price`` and ``offer_left``."""
_Book = namedtuple("_Book", "bid ask key who")
"""Of one realm: the best bid and ask of each item as ``_best`` writes them, and for each offer that can be
matched its sort key and its agent."""

BOOK_BIT, PRICE_BIT, LEFT_BIT = rule.BOOK_BIT, rule.PRICE_BIT, rule.LEFT_BIT
PRICES, SENIORITIES = rule.PRICES, rule.SENIORITIES
OFFERED, WITHDRAWN, SOLD, BOUGHT = (
    int(event) for event in (Event.OFFERED, Event.WITHDRAWN, Event.SOLD, Event.BOUGHT)
)  # fmt: skip


@cache
def goods(tables: Tables) -> Goods:
    """Look-up tables for compiled loops; cached."""
    lot, weight = np.array(tables.lot, np.int32), np.array(tables.weight, np.int32)
    return Goods(lot, weight, np.array(tables.prices, np.int64))


# Possible trades. "Back" means: assuming that the agent's open offer has been withdrawn.


@compiled(inline="always")
def can_sell(count, code, item, tables):
    """Whether the agent holds a lot of the item; ``count`` is the number it holds."""
    return code == 1 + item or count >= tables.lot[item]


@compiled(inline="always")
def purse_back(gold, code, price, tables):
    """Gold, including that in escrow."""
    return gold + (tables.prices[price] if code > len(tables.lot) else 0)


@compiled(inline="always")
def has_room_back(space, code, tables):
    """Whether one more unit fits; ``space`` is ``nmmo_gpu.cpu.inventory.room``."""
    # The goods in escrow need the room that is reserved for them: a lot weighs one unit, or nothing.
    items = len(tables.weight)
    return space > 0 or (code > items and tables.weight[code - 1 - items] > 0)


@compiled(inline="always")
def can_withdraw(code, left):
    """Whether there is an offer that will not have expired by then."""
    return code > 0 and left > 1


@compiled(inline="always")
def write_possible(out, trades_at, prices_at, inventory, gold, offer, space, tables):
    """Writes the masks of ``possible_trades`` and ``possible_prices`` of one living agent.

    Args:
        out: [...] uint8, in which the masks begin at bytes ``trades_at`` and ``prices_at``.
        inventory: [items], the agent's items.
        gold, offer: its gold and its ``Offer``. space: its ``nmmo_gpu.cpu.inventory.room``.
        tables: see ``Goods``.
    """
    items, count = len(tables.lot), len(tables.prices)
    code = offer.code
    purse = purse_back(gold, code, offer.price, tables)
    payable = 0
    while payable < count and purse >= tables.prices[payable]:
        payable += 1
    roomy = has_room_back(space, code, tables)
    sells = out[trades_at + 1 : trades_at + 1 + items]
    buys = out[trades_at + 1 + items : trades_at + 1 + 2 * items]
    row = out[prices_at : prices_at + 3 * count]
    can_buy = np.uint8(0)
    for i in range(items):
        sells[i] = inventory[i] >= tables.lot[i]
    if 0 < code <= items:
        sells[code - 1] = can_sell(inventory[code - 1], code, code - 1, tables)
    solvent = payable > 0
    for i in range(items):
        buys[i] = solvent & (roomy | (tables.weight[i] == 0))
    for i in range(items):
        can_buy |= buys[i]
    out[trades_at] = 1
    out[trades_at + 1 + 2 * items] = can_withdraw(code, offer.left)
    if not can_buy:
        payable = 1
    for k in range(count):
        row[k] = k == 0
    for k in range(count, 2 * count):
        row[k] = 1
    for k in range(count):
        row[2 * count + k] = k < payable


@compiled(inline="always")
def refund(world, tables, r, a):
    """Closes the open offer, if any, of agent ``a`` of realm ``r``, and returns its escrow."""
    code = world.offer[r, a]
    if code > len(tables.lot):
        world.gold[r, a] += tables.prices[world.offer_price[r, a]]
    elif code > 0:
        world.inventory[r, a, code - 1] += tables.lot[code - 1]
    world.offer[r, a] = 0
    world.offer_price[r, a] = 0
    world.offer_left[r, a] = 0


@compiled(inline="always")
def _possible(world, tables, capacity, r, a, trade, price):
    """Whether agent ``a`` of realm ``r`` can do what it chose."""
    items = len(tables.lot)
    code = world.offer[r, a]
    possible = False
    if trade > 2 * items:
        possible = can_withdraw(code, world.offer_left[r, a])
    elif trade > items:
        if purse_back(world.gold[r, a], code, world.offer_price[r, a], tables) >= tables.prices[price]:
            possible = tables.weight[trade - items - 1] == 0 or has_room_back(
                room(world, tables.weight, capacity, r, a), code, tables
            )
    elif trade > 0:
        possible = can_sell(world.inventory[r, a, trade - 1], code, trade - 1, tables)
    return possible


@compiled(inline="always")
def _open(world, tables, ticks, r, a, trade, price):
    """Opens an offer, and takes its escrow."""
    items = len(tables.lot)
    if trade > items:
        world.gold[r, a] -= tables.prices[price]
    else:
        world.inventory[r, a, trade - 1] -= tables.lot[trade - 1]
    world.offer[r, a] = trade
    world.offer_price[r, a] = price
    world.offer_left[r, a] = ticks
    world.events[r, a, OFFERED] += 1


@compiled
def _offers(world, choices, tables, config, low, high):
    """Expiry, withdrawals and new offers of slots low to high, numbered across all realms."""
    items, slots = len(tables.lot), world.offer.shape[1]
    for r in range(low // slots, (high - 1) // slots + 1):
        for a in range(max(0, low - r * slots), min(slots, high - r * slots)):
            code, trade = world.offer[r, a], np.int64(choices.trade[r, a])
            if (code == 0 and trade == 0) or not world.alive[r, a] or world.health[r, a] <= 0:
                continue
            price = np.int64(choices.price[r, a])
            possible = _possible(world, tables, config.capacity, r, a, trade, price)
            if code > 0:
                world.offer_left[r, a] -= 1
                expired = world.offer_left[r, a] <= 0
                if expired or possible:
                    refund(world, tables, r, a)
                    world.events[r, a, WITHDRAWN] += not expired
            if possible and trade <= 2 * items:
                _open(world, tables, config.offer_ticks, r, a, trade, price)


@compiled
def _best(offer, offer_price, alive, health, items, bid, ask):
    """Best bid and ask of each item in a realm: 1 + its index among the prices; 0, or PRICES + 1, for none.
    Returns whether any item has a bid at least as high as an ask."""
    bid[:] = 0
    ask[:] = PRICES + 1
    crossed = False
    for a in range(len(offer)):
        code = np.int64(offer[a]) - 1
        if code < 0 or not alive[a] or health[a] <= 0:
            continue
        shown = np.int64(offer_price[a]) + 1
        if code >= items:
            code -= items
            bid[code] = max(bid[code], shown)
        else:
            ask[code] = min(ask[code], shown)
        crossed |= bid[code] >= ask[code]
    return crossed


@compiled(inline="always")
def _collect(world, book, items, r):
    """Fills ``book.key`` and ``book.who`` with the offers of realm ``r`` that are at least as good as the
    best offer of the other side; returns their number."""
    count = 0
    for a in range(world.offer.shape[1]):
        code = np.int64(world.offer[r, a]) - 1
        if code < 0 or not world.alive[r, a] or world.health[r, a] <= 0:
            continue
        bids = code >= items
        if bids:
            code -= items
        at = np.int64(world.offer_price[r, a])
        bid, ask = book.bid[code], book.ask[code]
        if bid < ask or (at + 1 < ask if bids else at + 1 > bid):
            continue
        seniority = max(world.entity[r, a] - world.next_entity[r] + SENIORITIES, 0)
        side, rank = (2 * code, PRICES - 1 - at) if bids else (2 * code + 1, at)
        left = np.int64(world.offer_left[r, a]) << LEFT_BIT
        book.key[count] = side << BOOK_BIT | rank << PRICE_BIT | left | seniority
        book.who[count] = a
        count += 1
    return count


@compiled(inline="always")
def _trade(world, tables, r, item, buyer, seller):
    """One lot changes hands, if the bid is at least the ask; returns whether it does."""
    offered, paid = world.offer_price[r, buyer], world.offer_price[r, seller]
    if offered < paid:
        return False
    prices = tables.prices
    world.inventory[r, buyer, item] += tables.lot[item]
    world.gold[r, buyer] += prices[offered] - prices[paid]
    world.gold[r, seller] += prices[paid]
    world.events[r, buyer, BOUGHT] += 1
    world.events[r, seller, SOLD] += 1
    world.trades[r, item, 0] += 1
    world.trades[r, item, 1] += prices[paid]
    world.quotes[r, item, 2] = paid + 1
    for a in (buyer, seller):
        world.offer[r, a] = 0
        world.offer_price[r, a] = 0
        world.offer_left[r, a] = 0
    return True


@compiled(inline="always")
def _end_of_side(key, line, start, count, side):
    """The end of the run of one side of a book, which begins at ``start``."""
    end = start
    while end < count and key[line[end]] >> BOOK_BIT == side:
        end += 1
    return end


@compiled
def _match(world, tables, low, high):
    """Trades of realms low to high. Only offers at least as good as the best offer of the other side can be
    matched, and these are first in their books, so the others are not sorted."""
    items, slots = len(tables.lot), world.offer.shape[1]
    bid, ask = np.empty(items, np.int64), np.empty(items, np.int64)
    book = _Book(bid, ask, np.empty(slots, np.int64), np.empty(slots, np.int64))
    for r in range(low, high):
        if not _best(world.offer[r], world.offer_price[r], world.alive[r], world.health[r], items, bid, ask):
            continue
        count = _collect(world, book, items, r)
        line = np.argsort(book.key[:count])
        start = 0
        while start < count:
            side = book.key[line[start]] >> BOOK_BIT
            asks = _end_of_side(book.key, line, start, count, side)
            end = _end_of_side(book.key, line, asks, count, side + 1)
            for k in range(min(asks - start, end - asks)):
                buyer, seller = book.who[line[start + k]], book.who[line[asks + k]]
                if not _trade(world, tables, r, side >> 1, buyer, seller):
                    break
            start = end


@compiled
def _exchange(make, meet, low, high):
    """Both steps, realm by realm."""
    slots = make[0].offer.shape[1]
    for r in range(low, high):
        _offers(*make, r * slots, (r + 1) * slots)
        _match(*meet, r, r + 1)


@compiled
def _quotes(world, low, high):
    items = world.quotes.shape[1]
    bid, ask = np.empty(items, np.int64), np.empty(items, np.int64)
    for r in range(low, high):
        _best(world.offer[r], world.offer_price[r], world.alive[r], world.health[r], items, bid, ask)
        for i in range(items):
            world.quotes[r, i, 0] = bid[i]
            world.quotes[r, i, 1] = ask[i] if ask[i] <= PRICES else 0


def arguments(world: World, trade: Tensor, price: Tensor) -> tuple[Any, ...]:
    """Arguments of ``_exchange``, except the range of realms."""
    cfg = world.config
    tables = goods(cfg.tables)
    choices, config = _Choices(trade.numpy(), price.numpy()), fields_of(_OfferConfig, cfg)
    return (arrays_of(_OfferFields, world), choices, tables, config), (arrays_of(_MatchFields, world), tables)


def exchange(world: World, trade: Tensor, price: Tensor) -> None:
    """See ``nmmo_gpu.world.exchange.exchange``."""
    if not world.config.tables.items:
        return
    make, meet = arguments(world, trade, price)
    realms, slots = world.realms, world.config.slots
    if shared(realms, slots):
        parallel(_offers, [(*make, *piece) for piece in cut(realms, slots, slots)])
        parallel(_match, [(*meet, *piece) for piece in realm_slices(realms)])
    else:
        parallel(_exchange, [(make, meet, *piece) for piece in realm_slices(realms)])


def quotes(world: World) -> None:
    """See ``nmmo_gpu.world.exchange.quotes``."""
    fields = arrays_of(_QuoteFields, world)
    parallel(_quotes, [(fields, *piece) for piece in realm_slices(world.realms)])
