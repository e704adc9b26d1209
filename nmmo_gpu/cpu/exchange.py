"""The exchange as compiled loops; twin of ``nmmo_gpu.world.exchange``."""

from functools import cache
from typing import Any

import numpy as np
from torch import Tensor

from nmmo_gpu.content.tables import Tables
from nmmo_gpu.cpu.compile import arrays_of, choices_of, compiled
from nmmo_gpu.cpu.inventory import room
from nmmo_gpu.cpu.threads import cut, parallel, realm_slices, shared
from nmmo_gpu.world import exchange as rule
from nmmo_gpu.world.events import Event
from nmmo_gpu.world.state import World

_OFFER_FIELDS = "alive health offer offer_price offer_left inventory gold events"
_MATCH_FIELDS = (
    "entity next_entity alive health offer offer_price offer_left inventory gold events trades quotes"
)

BOOK_BIT, PRICE_BIT, LEFT_BIT = rule.BOOK_BIT, rule.PRICE_BIT, rule.LEFT_BIT
PRICES, SENIORITIES = rule.PRICES, rule.SENIORITIES
OFFERED, WITHDRAWN, SOLD, BOUGHT = (
    int(event) for event in (Event.OFFERED, Event.WITHDRAWN, Event.SOLD, Event.BOUGHT)
)  # fmt: skip


@cache
def numbers(tables: Tables) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (lots [items] int32, weights [items] int32, prices [prices] int64), for the loops."""
    lots, weights = np.array(tables.lot, np.int32), np.array(tables.weight, np.int32)
    return lots, weights, np.array(tables.prices, np.int64)


# Possible trades. "Back" means: assuming that the agent's open offer has been withdrawn.


@compiled(inline="always")
def can_sell(count, offer, item, lots):
    """Returns whether the agent holds a lot of the item; ``count`` is the number it holds."""
    return offer == 1 + item or count >= lots[item]


@compiled(inline="always")
def purse_back(gold, offer, offer_price, prices, lots):
    """Returns the agent's gold, including gold in escrow."""
    return gold + (prices[offer_price] if offer > len(lots) else 0)


@compiled(inline="always")
def has_room_back(space, offer, weights):
    """Returns whether one more unit fits; ``space`` is ``nmmo_gpu.cpu.inventory.room``."""
    # The goods in escrow need the room that is reserved for them: a lot weighs one unit, or nothing.
    return space > 0 or (offer > len(weights) and weights[offer - 1 - len(weights)] > 0)


@compiled(inline="always")
def can_withdraw(offer, offer_left):
    """Returns whether there is an offer that does not expire first."""
    return offer > 0 and offer_left > 1


@compiled(inline="always")
def write_possible(
    out, trades_at, prices_at, inventory, gold, offer, offer_price, offer_left, space, lots, weights, prices,
):  # fmt: skip
    """Writes the masks of ``possible_trades`` and ``possible_prices`` of one living agent.

    Args:
        out: [...] uint8, in which the masks begin at bytes ``trades_at`` and ``prices_at``.
        inventory: [items], the agent's items.
        space: the agent's ``nmmo_gpu.cpu.inventory.room``.
        lots: see ``numbers``.
        weights: see ``numbers``.
        prices: see ``numbers``.
    """
    items, count = len(lots), len(prices)
    purse = purse_back(gold, offer, offer_price, prices, lots)
    payable = 0
    while payable < count and purse >= prices[payable]:
        payable += 1
    roomy = has_room_back(space, offer, weights)
    sells = out[trades_at + 1 : trades_at + 1 + items]
    buys = out[trades_at + 1 + items : trades_at + 1 + 2 * items]
    row = out[prices_at : prices_at + 3 * count]
    can_buy = np.uint8(0)
    for i in range(items):
        sells[i] = inventory[i] >= lots[i]
    if 0 < offer <= items:
        sells[offer - 1] = can_sell(inventory[offer - 1], offer, offer - 1, lots)
    solvent = payable > 0
    for i in range(items):
        buys[i] = solvent & (roomy | (weights[i] == 0))
    for i in range(items):
        can_buy |= buys[i]
    out[trades_at] = 1
    out[trades_at + 1 + 2 * items] = can_withdraw(offer, offer_left)
    if not can_buy:
        payable = 1
    for k in range(count):
        row[k] = k == 0
    for k in range(count, 2 * count):
        row[k] = 1
    for k in range(count):
        row[2 * count + k] = k < payable


@compiled(inline="always")
def refund(r, a, offer, offer_price, offer_left, inventory, gold, lots, prices):
    """Closes the open offer, if any, of agent ``a`` of realm ``r``, and returns its escrow."""
    code = offer[r, a]
    if code > len(lots):
        gold[r, a] += prices[offer_price[r, a]]
    elif code > 0:
        inventory[r, a, code - 1] += lots[code - 1]
    offer[r, a] = 0
    offer_price[r, a] = 0
    offer_left[r, a] = 0


@compiled(allocates=False)
def _offers(trade, price, world, goods, capacity, offer_ticks, low, high):
    """Applies expiry, withdrawals and new offers of slots low to high, numbered across all realms. ``goods``:
    see ``numbers``."""
    alive, health, offer, offer_price, offer_left, inventory, gold, events = world
    lots, weights, prices = goods
    items, slots = len(lots), offer.shape[1]
    for r in range(low // slots, (high - 1) // slots + 1):
        for a in range(max(0, low - r * slots), min(slots, high - r * slots)):
            code, choice = offer[r, a], np.int64(trade[r, a])
            if (code == 0 and choice == 0) or not alive[r, a] or health[r, a] <= 0:
                continue
            possible = False
            if choice > 2 * items:
                possible = can_withdraw(code, offer_left[r, a])
            elif choice > items:
                item, at = choice - items - 1, np.int64(price[r, a])
                if purse_back(gold[r, a], code, offer_price[r, a], prices, lots) >= prices[at]:
                    possible = weights[item] == 0 or has_room_back(
                        room(inventory, offer, weights, capacity, r, a), code, weights
                    )
            elif choice > 0:
                possible = can_sell(inventory[r, a, choice - 1], code, choice - 1, lots)
            if code > 0:
                offer_left[r, a] -= 1
                if offer_left[r, a] <= 0:
                    refund(r, a, offer, offer_price, offer_left, inventory, gold, lots, prices)
                elif possible:
                    refund(r, a, offer, offer_price, offer_left, inventory, gold, lots, prices)
                    events[r, a, WITHDRAWN] += 1
            if not possible or choice > 2 * items:
                continue
            if choice > items:
                gold[r, a] -= prices[np.int64(price[r, a])]
            else:
                inventory[r, a, choice - 1] -= lots[choice - 1]
            offer[r, a] = choice
            offer_price[r, a] = price[r, a]
            offer_left[r, a] = offer_ticks
            events[r, a, OFFERED] += 1


@compiled
def _best(offer, offer_price, alive, health, items, bid, ask):
    """Writes the best bid and ask of each item in a realm: 1 + the price index; 0 for no bid, PRICES + 1 for
    no ask. Returns whether any item has a bid at least as high as an ask."""
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


@compiled
def _match(world, lots, prices, low, high):
    """Makes the trades of realms low to high. Only offers at least as good as the best offer of the other
    side can be matched, and these are first in their books, so the others are not sorted."""
    (
        entity, next_entity, alive, health, offer, offer_price, offer_left, inventory, gold, events, trades,
        quotes
    ) = world  # fmt: skip
    items, slots = len(lots), offer.shape[1]
    bid, ask = np.empty(items, np.int64), np.empty(items, np.int64)
    key, who = np.empty(slots, np.int64), np.empty(slots, np.int64)
    for r in range(low, high):
        if not _best(offer[r], offer_price[r], alive[r], health[r], items, bid, ask):
            continue
        count = 0
        for a in range(slots):
            code = np.int64(offer[r, a]) - 1
            if code < 0 or not alive[r, a] or health[r, a] <= 0:
                continue
            bids = code >= items
            if bids:
                code -= items
            at = np.int64(offer_price[r, a])
            if bid[code] < ask[code] or (at + 1 < ask[code] if bids else at + 1 > bid[code]):
                continue
            seniority = max(entity[r, a] - next_entity[r] + SENIORITIES, 0)
            book, rank = (2 * code, PRICES - 1 - at) if bids else (2 * code + 1, at)
            left = np.int64(offer_left[r, a]) << LEFT_BIT
            key[count] = book << BOOK_BIT | rank << PRICE_BIT | left | seniority
            who[count] = a
            count += 1
        line = np.argsort(key[:count])
        start = 0
        while start < count:
            book = key[line[start]] >> BOOK_BIT
            asks = start
            while asks < count and key[line[asks]] >> BOOK_BIT == book:
                asks += 1
            end = asks
            while end < count and key[line[end]] >> BOOK_BIT == book + 1:
                end += 1
            item = book >> 1
            for k in range(min(asks - start, end - asks)):
                buyer, seller = who[line[start + k]], who[line[asks + k]]
                high_price, paid = offer_price[r, buyer], offer_price[r, seller]
                if high_price < paid:
                    break
                inventory[r, buyer, item] += lots[item]
                gold[r, buyer] += prices[high_price] - prices[paid]
                gold[r, seller] += prices[paid]
                events[r, buyer, BOUGHT] += 1
                events[r, seller, SOLD] += 1
                trades[r, item, 0] += 1
                trades[r, item, 1] += prices[paid]
                quotes[r, item, 2] = paid + 1
                for a in (buyer, seller):
                    offer[r, a] = 0
                    offer_price[r, a] = 0
                    offer_left[r, a] = 0
            start = end


@compiled
def _exchange(make, meet, low, high):
    """Runs both steps, realm by realm."""
    slots = make[0].shape[1]
    for r in range(low, high):
        _offers(*make, r * slots, (r + 1) * slots)
        _match(*meet, r, r + 1)


@compiled
def _quotes(alive, health, offer, offer_price, quotes, low, high):
    items = quotes.shape[1]
    bid, ask = np.empty(items, np.int64), np.empty(items, np.int64)
    for r in range(low, high):
        _best(offer[r], offer_price[r], alive[r], health[r], items, bid, ask)
        for i in range(items):
            quotes[r, i, 0] = bid[i]
            quotes[r, i, 1] = ask[i] if ask[i] <= PRICES else 0


def arguments(world: World, trade: Tensor, price: Tensor) -> tuple[Any, ...]:
    """Arguments of ``_exchange``, except the range of realms."""
    cfg = world.config
    goods = numbers(cfg.tables)
    fields = arrays_of(_OFFER_FIELDS, world)
    make = *choices_of(trade, price), fields, goods, cfg.capacity, cfg.offer_ticks
    return make, (arrays_of(_MATCH_FIELDS, world), goods[0], goods[2])


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


def quotes_arguments(world: World) -> tuple[Any, ...]:
    """Arguments of ``_quotes``, except the range of realms."""
    return arrays_of("alive health offer offer_price quotes", world)


def quotes(world: World) -> None:
    """See ``nmmo_gpu.world.exchange.quotes``."""
    fixed = quotes_arguments(world)
    parallel(_quotes, [(*fixed, *piece) for piece in realm_slices(world.realms)])
