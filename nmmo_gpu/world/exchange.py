"""The exchange: offers and trades."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.content.tables import tensor
from nmmo_gpu.world.events import Event
from nmmo_gpu.world.inventory import weights
from nmmo_gpu.world.state import World

# The sort key of an offer within its realm, as one integer. There are two books per item, one after the
# other: bids for item 0, asks for item 0, bids for item 1, and so on. Within a book the better price is
# first, then the earlier offer, which has less time left, then the older agent.
BOOK_BIT, PRICE_BIT, LEFT_BIT = 55, 50, 43
"""Lowest bits of book (8 bits), price (5), and ticks left (7). The bits below are the agent's seniority."""
PRICES = 1 << (BOOK_BIT - PRICE_BIT)
"""Maximum number of prices."""
SENIORITIES = 1 << LEFT_BIT
"""Ids are distinguishable as long as fewer agents than this have spawned since; a realm never has more
(``nmmo_gpu.world.state.MAX_IDS``)."""
NO_OFFER = (1 << 63) - 1
"""Greater than the key of every offer."""


def possible_trades(world: World) -> tuple[Tensor, Tensor]:
    """The trades that are possible for each agent, assuming that its open offer is withdrawn first if
    necessary.

    An offer that will have expired before it could be withdrawn cannot be withdrawn. Dead agents cannot
    trade.

    Returns:
        [R, A, 2 * items + 2] bool: which choices of the trade head do something, at the right price. The
            first, nothing, is always true.
        [R, A] int64: how many of the prices, from the lowest on, it could pay in a buy.
    """
    cfg, offer = world.config, world.offer
    prices, items = tensor(cfg.tables.prices, world.device), len(cfg.tables.items)
    lots = tensor(cfg.tables.lot, world.device, torch.int32)
    living = _living(world)
    open_ = living & (offer > 0)
    every = torch.arange(items, device=world.device, dtype=torch.int64)
    own = (offer[..., None] - 1 == every) & open_[..., None]
    stock = world.inventory + torch.where(own, lots, 0)
    in_escrow = prices[torch.where(open_, world.offer_price, 0).long()]
    purse = world.gold + torch.where(open_ & (offer > items), in_escrow, 0)
    affordable = torch.where(living, (purse[..., None] >= prices).sum(-1), 0)

    weight = weights(world)
    has_room = (stock * weight).sum(-1) < cfg.capacity
    mask = torch.zeros(*offer.shape, 2 * items + 2, dtype=torch.bool, device=world.device)
    mask[..., 0] = True
    mask[..., 1 : 1 + items] = living[..., None] & (stock >= lots)
    buyable = has_room[..., None] | (weight == 0)
    mask[..., 1 + items : -1] = (affordable > 0)[..., None] & buyable
    mask[..., -1] = open_ & (world.offer_left > 1)
    return mask, affordable


def possible_prices(world: World, trades: Tensor, affordable: Tensor) -> Tensor:
    """[R, A, 3, prices] bool: choices of the price head that are possible with each kind of trade. Row 0 is
    for trades without a price and has only the first; row 1 is for a sale; row 2 is for a buy and has the
    prices that the agent could pay, or the first if it can buy nothing.

    Args:
        trades: the first result of ``possible_trades``.
        affordable: the second.
    """
    prices, items = len(world.config.tables.prices), len(world.config.tables.items)
    can_buy = trades[..., 1 + items : -1].any(-1)
    possible = torch.ones(*affordable.shape, 3, prices, dtype=torch.bool, device=world.device)
    possible[..., 0, 1:] = False
    payable = torch.where(can_buy, affordable, 1)
    possible[..., 2, :] = torch.arange(prices, device=world.device, dtype=torch.int64) < payable[..., None]
    return possible


def exchange(world: World, trade: Tensor, price: Tensor) -> None:
    """Offers expire, are withdrawn, replaced and made; then matching offers are traded.

    Agents killed this tick do not take part.

    Args:
        trade: [R, A] integers: 0 nothing, 1 + i sell item i, 1 + items + i buy it, 1 + 2 * items withdraw.
        price: [R, A] integers, index into ``Tables.prices``; used when selling or buying.
    """
    items = len(world.config.tables.items)
    living = _living(world)
    possible, affordable = possible_trades(world)
    trade = torch.where(living, trade.long(), 0)
    price = price.long()
    does = (trade > 0) & possible.gather(-1, trade[..., None]).squeeze(-1)
    does &= (trade <= items) | (trade > 2 * items) | (price < affordable)

    waiting = living & (world.offer > 0)
    world.offer_left[waiting] -= 1
    refund(world, waiting & (world.offer_left <= 0))
    ends = does & (world.offer > 0)
    world.events[..., Event.WITHDRAWN] += ends.int()
    refund(world, ends)
    _open(world, does & (trade <= 2 * items), trade, price)
    _match(world)


def refund(world: World, ends: Tensor) -> None:
    """Closes the open offers, if any, of ``ends`` ([R, A] bool), and returns their escrow."""
    items = len(world.config.tables.items)
    lots = tensor(world.config.tables.lot, world.device, torch.int32)
    prices = tensor(world.config.tables.prices, world.device)
    sells = ends & (world.offer > 0) & (world.offer <= items)
    realm, slot = sells.nonzero(as_tuple=True)
    item = world.offer[realm, slot].long() - 1
    world.inventory[realm, slot, item] += lots[item]
    realm, slot = (ends & (world.offer > items)).nonzero(as_tuple=True)
    world.gold[realm, slot] += prices[world.offer_price[realm, slot].long()]
    _clear(world, *ends.nonzero(as_tuple=True))


def quotes(world: World) -> None:
    """Sets the best bid and the best ask of each item: the first two columns of ``World.quotes``."""
    if len(world.config.tables.items):
        world.quotes[..., :2] = best_offers(world)


def best_offers(world: World) -> Tensor:
    """[R, items, 2] uint8: the best bid and the best ask of each item, each 1 + the index of its price; 0 for
    none. There must be items."""
    items = len(world.config.tables.items)
    none = PRICES + 1
    waiting = _living(world) & (world.offer > 0)
    code = torch.where(waiting, world.offer.long() - 1, 0)
    shown = world.offer_price.long() + 1
    bids = torch.where(waiting & (code >= items), shown, 0)
    asks = torch.where(waiting & (code < items), shown, none)
    start = torch.zeros(world.realms, items, dtype=torch.int64, device=world.device)
    bid = start.scatter_reduce(1, code % items, bids, "amax")
    ask = (start + none).scatter_reduce(1, code % items, asks, "amin")
    return torch.stack((bid, torch.where(ask < none, ask, 0)), -1).to(torch.uint8)


def _living(world: World) -> Tensor:
    """[R, A] bool: alive, and not killed this tick."""
    return world.agents(world.alive) & (world.agents(world.health) > 0)


def _clear(world: World, realm: Tensor, slot: Tensor) -> None:
    for field in (world.offer, world.offer_price, world.offer_left):
        field[realm, slot] = 0


def _open(world: World, opens: Tensor, trade: Tensor, price: Tensor) -> None:
    """Makes the offers of ``opens`` ([R, A] bool), which have none, and moves the offered goods into
    escrow."""
    items = len(world.config.tables.items)
    lots = tensor(world.config.tables.lot, world.device, torch.int32)
    prices = tensor(world.config.tables.prices, world.device)
    realm, slot = (opens & (trade <= items)).nonzero(as_tuple=True)
    item = trade[realm, slot] - 1
    world.inventory[realm, slot, item] -= lots[item]
    realm, slot = (opens & (trade > items)).nonzero(as_tuple=True)
    world.gold[realm, slot] -= prices[price[realm, slot]]
    realm, slot = opens.nonzero(as_tuple=True)
    world.offer[realm, slot] = trade[realm, slot].to(world.offer.dtype)
    world.offer_price[realm, slot] = price[realm, slot].to(world.offer_price.dtype)
    world.offer_left[realm, slot] = world.config.offer_ticks
    world.events[..., Event.OFFERED] += opens.int()


def _order(world: World) -> Tensor:
    """[R, A] int64: the sort key of each offer in its realm (see ``BOOK_BIT``); no two are equal."""
    items = len(world.config.tables.items)
    code, price = world.offer.long() - 1, world.offer_price.long()
    bids = code >= items
    book = 2 * torch.where(bids, code - items, code) + (~bids).long()
    seniority = (world.agents(world.entity) - world.next_entity[:, None] + SENIORITIES).clamp(min=0)
    key = book << BOOK_BIT | torch.where(bids, PRICES - 1 - price, price) << PRICE_BIT
    key |= world.offer_left.long() << LEFT_BIT | seniority
    return torch.where(_living(world) & (code >= 0), key, NO_OFFER)


def _match(world: World) -> None:
    """Matches the k-th bid for an item with the k-th ask, if it is at least as high; it pays the ask."""
    items, slots = len(world.config.tables.items), world.config.slots
    if items == 0:
        return
    lots = tensor(world.config.tables.lot, world.device, torch.int32)
    prices = tensor(world.config.tables.prices, world.device)
    key, slot = _order(world).sort(dim=1)
    # The start of each book, and the end of the last one.
    edges = torch.arange(2 * items + 1, device=world.device, dtype=torch.int64) << BOOK_BIT
    begin = torch.searchsorted(key, edges.expand(world.realms, -1).contiguous())
    book = (key >> BOOK_BIT).clamp(max=2 * items - 1)
    item = book // 2
    rank = torch.arange(slots, device=world.device, dtype=torch.int64) - begin.gather(1, 2 * item)
    ask_at = begin.gather(1, 2 * item + 1) + rank
    there = (key != NO_OFFER) & (book % 2 == 0) & (ask_at < begin.gather(1, 2 * item + 2))
    ask_at = ask_at.clamp(0, slots - 1)
    bid = PRICES - 1 - (key >> PRICE_BIT) % PRICES
    ask = (key.gather(1, ask_at) >> PRICE_BIT) % PRICES
    met = there & (bid >= ask)
    shown = torch.where(met, ask + 1, 0)
    highest = torch.zeros_like(begin[:, :items]).scatter_reduce(1, item, shown, "amax")
    world.quotes[..., 2] = torch.where(highest > 0, highest, world.quotes[..., 2]).to(torch.uint8)

    realm, at = met.nonzero(as_tuple=True)
    buyer, seller, i = slot[realm, at], slot[realm, ask_at[realm, at]], item[realm, at]
    paid, offered = prices[ask[realm, at]], prices[bid[realm, at]]
    world.inventory[realm, buyer, i] += lots[i]
    world.gold[realm, buyer] += offered - paid
    world.gold[realm, seller] += paid
    world.events[realm, buyer, Event.BOUGHT] += 1
    world.events[realm, seller, Event.SOLD] += 1
    world.trades.index_put_((realm, i), torch.stack((torch.ones_like(paid), paid), -1), accumulate=True)
    _clear(world, realm, buyer)
    _clear(world, realm, seller)
