"""The exchange: offers, and who trades with whom."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.world.events import Event
from nmmo_gpu.world.inventory import weights
from nmmo_gpu.world.state import World
from nmmo_gpu.world.tables import tensor

# An offer's place in the order of its realm, as one integer. Books, two per item, come one after the other:
# first whoever bids for item 0, then whoever asks gold for it, then item 1's. Within a book the better price
# comes first, then the earlier offer, which has less time left, then the older agent.
BOOK_BIT, PRICE_BIT, LEFT_BIT = 55, 50, 43
"""Lowest bits of book (8 bits), price (5), and ticks left (7). What is below is the agent's seniority."""
PRICES = 1 << (BOOK_BIT - PRICE_BIT)
"""Most prices that there can be."""
SENIORITIES = 1 << LEFT_BIT
"""Ids are told apart as long as fewer agents than this have been born since."""
NO_OFFER = (1 << 63) - 1
"""Behind all offers."""


def possible_trades(world: World) -> tuple[Tensor, Tensor]:
    """What each agent could do at the exchange next, taking its open offer back if need be.

    An offer that will have lapsed before it could be withdrawn cannot be. The dead can do nothing.

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
    own = (offer[..., None] - 1 == torch.arange(items, device=world.device)) & open_[..., None]
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
    """[R, A, 3, prices] bool: which choices of the price head make sense with which trades: row 0 with those
    that have no price, where the first stands for all; row 1 with a sale; row 2 with a buy, what the agent
    could pay, and the first where it can buy nothing at all.

    Args:
        trades: the first result of ``possible_trades``.
        affordable: the second.
    """
    prices, items = len(world.config.tables.prices), len(world.config.tables.items)
    can_buy = trades[..., 1 + items : -1].any(-1)
    possible = torch.ones(*affordable.shape, 3, prices, dtype=torch.bool, device=world.device)
    possible[..., 0, 1:] = False
    payable = torch.where(can_buy, affordable, 1)
    possible[..., 2, :] = torch.arange(prices, device=world.device) < payable[..., None]
    return possible


def exchange(world: World, trade: Tensor, price: Tensor) -> None:
    """Offers lapse, are withdrawn, replaced and made; then those that agree are met.

    Who was killed this tick takes no part.

    Args:
        trade: [R, A] integers: 0 nothing, 1 + i sell item i, 1 + items + i buy it, 1 + 2 * items withdraw.
        price: [R, A] integers, index into ``Tables.prices``; matters to who sells or buys.
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
    """Ends the open offers, if any, of ``ends`` ([R, A] bool); what they held in escrow comes back."""
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
    items = len(world.config.tables.items)
    if items == 0:
        return
    none = PRICES + 1
    waiting = _living(world) & (world.offer > 0)
    code = torch.where(waiting, world.offer.long() - 1, 0)
    shown = world.offer_price.long() + 1
    bids = torch.where(waiting & (code >= items), shown, 0)
    asks = torch.where(waiting & (code < items), shown, none)
    start = torch.zeros(world.realms, items, dtype=torch.int64, device=world.device)
    bid = start.scatter_reduce(1, code % items, bids, "amax")
    ask = (start + none).scatter_reduce(1, code % items, asks, "amin")
    world.quotes[..., 0] = bid.to(torch.uint8)
    world.quotes[..., 1] = torch.where(ask < none, ask, 0).to(torch.uint8)


def _living(world: World) -> Tensor:
    """[R, A] bool: alive, and not killed this tick."""
    return world.agents(world.alive) & (world.agents(world.health) > 0)


def _clear(world: World, realm: Tensor, slot: Tensor) -> None:
    for field in (world.offer, world.offer_price, world.offer_left):
        field[realm, slot] = 0


def _open(world: World, opens: Tensor, trade: Tensor, price: Tensor) -> None:
    """Makes the offers of ``opens`` ([R, A] bool), who have none, and takes what is offered into escrow."""
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
    """[R, A] int64: each offer's place in the order of its realm (see ``BOOK_BIT``); no two are equal."""
    items = len(world.config.tables.items)
    code, price = world.offer.long() - 1, world.offer_price.long()
    bids = code >= items
    book = 2 * torch.where(bids, code - items, code) + (~bids).long()
    seniority = (world.agents(world.entity) - world.next_entity[:, None] + SENIORITIES).clamp(min=0)
    key = book << BOOK_BIT | torch.where(bids, PRICES - 1 - price, price) << PRICE_BIT
    key |= world.offer_left.long() << LEFT_BIT | seniority
    return torch.where(_living(world) & (code >= 0), key, NO_OFFER)


def _match(world: World) -> None:
    """The k-th bid for an item meets the k-th ask, as long as it is at least as high; the ask is paid."""
    items, slots = len(world.config.tables.items), world.config.slots
    if items == 0:
        return
    lots = tensor(world.config.tables.lot, world.device, torch.int32)
    prices = tensor(world.config.tables.prices, world.device)
    key, slot = _order(world).sort(dim=1)
    # Where the books begin; last, where the last one ends.
    edges = torch.arange(2 * items + 1, device=world.device) << BOOK_BIT
    begin = torch.searchsorted(key, edges.expand(world.realms, -1).contiguous())
    book = (key >> BOOK_BIT).clamp(max=2 * items - 1)
    item = book // 2
    rank = torch.arange(slots, device=world.device) - begin.gather(1, 2 * item)
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
