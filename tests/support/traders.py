"""Small markets, a plain auction as a reference, and checks of the invariants of every exchange."""

from __future__ import annotations

from typing import NamedTuple

import torch
from support.helpers import ODD, blank_maps, place
from torch import Tensor

from nmmo_gpu.config import WorldConfig, preset
from nmmo_gpu.content import STANDARD, Content, Item
from nmmo_gpu.world.backend import Backend
from nmmo_gpu.world.events import Event
from nmmo_gpu.world.ledger import holdings
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.state import World, field_shape, stock_fields

FEW = Content(
    items=(
        Item("ore"),
        Item("knife", "knife", weight=0, lot=10),
        Item("meal", heals=1),
        Item("gem", weight=0),
    ),
    prices=(1, 2, 5, 9),
)
"""So few items and prices that most offers match."""


def market(slots: int = 7, realms: int = 3, content: Content = STANDARD, **settings: object) -> World:
    """Returns a world whose agents are all alive, with 100 gold, no items and no offers. The id of the agent
    in slot a is 10 * (a + 1)."""
    config = preset(
        "full",
        **{
            **ODD,
            "slots": slots,
            "populations": 1,
            "npcs": False,
            "works": (),
            "content": content,
            **settings,
        },
    )
    world = empty_world(config, blank_maps(config, realms), 1)
    for realm in range(realms):
        for slot in range(slots):
            place(world, realm, slot, 10 + slot // 20, 10 + slot % 20)
    world.entity.copy_(10 * torch.arange(1, slots + 1).expand(realms, -1))
    world.next_entity.fill_(10 * slots + 10)
    world.gold.fill_(100)
    return world


def numbered(config: WorldConfig, name: str) -> int:
    """Returns an item's index."""
    return config.tables.items.index(name)


def give(world: World, slot: int, **things: int) -> None:
    """Adds items to an agent's inventory in every realm; item names have underscores for spaces."""
    for name, count in things.items():
        world.inventory[:, slot, numbered(world.config, name.replace("_", " "))] += count


def bag(world: World, slot: int, realm: int = 0) -> dict[str, int]:
    """Returns an agent's nonzero item counts by name."""
    counts = world.inventory[realm, slot].tolist()
    return {name: n for name, n in zip(world.config.tables.items, counts, strict=True) if n}


def orders(world: World, **choices: tuple[str, str, int] | str) -> tuple[Tensor, Tensor]:
    """Returns (trade, price), the same in every realm, from choices such as a0=("sell", "tin ore", 5),
    a1=("buy", ...), a2="withdraw". Agents without a choice do nothing; their prices vary."""
    cfg = world.config
    items = len(cfg.tables.items)
    trade = torch.zeros(world.realms, cfg.slots, dtype=torch.int64)
    price = torch.arange(trade.numel()).view(trade.shape) % len(cfg.tables.prices)
    for name, choice in choices.items():
        slot = int(name[1:])
        if choice == "withdraw":
            trade[:, slot] = 2 * items + 1
            continue
        side, item, gold = choice
        trade[:, slot] = 1 + numbered(cfg, item) + items * (side == "buy")
        price[:, slot] = cfg.tables.prices.index(gold)
    return trade, price


def deal(backend: Backend, world: World, **choices: tuple[str, str, int] | str) -> None:
    """Runs one exchange; checks its invariants, and that the results are the same in every realm."""
    run(backend, world, *orders(world, **choices))
    for name, field in world.tensors():
        if field.shape[0] == world.realms > 1:
            assert (field == field[:1]).all(), f"{name}: realms with the same goods went apart"


def run(backend: Backend, world: World, trade: Tensor, price: Tensor) -> None:
    """Runs one exchange; checks the invariants that hold for any choices."""
    before, goods = world.clone(), holdings(world)
    choices = trade.clone(), price.clone()
    backend.exchange(world, trade, price)
    assert torch.equal(holdings(world), goods), "goods came from nowhere, or are gone"
    assert torch.equal(trade, choices[0]) and torch.equal(price, choices[1])
    check(world)
    touched = {
        "inventory", "gold", "offer", "offer_price", "offer_left", "events", "trades", "quotes",
    }  # fmt: skip
    for (name, now), (_, then) in zip(world.tensors(), before.tensors(), strict=True):
        if name not in touched:
            assert torch.equal(now, then), f"{name} is none of the exchange's business"
    out = ~(world.alive & (world.health > 0))[:, : world.config.slots]
    for name in touched - {"trades", "quotes"}:
        now, then = getattr(world, name), getattr(before, name)
        assert torch.equal(now[out], then[out]), f"{name} of the dead was touched"


def check(world: World) -> None:
    """Checks living agents: no negative counts or gold, no inventory over capacity, no partly set offers."""
    cfg, tables = world.config, world.config.tables
    items = len(tables.items)
    for realm, slot in (world.alive & (world.health > 0))[:, : cfg.slots].nonzero().tolist():
        counts = world.inventory[realm, slot].tolist()
        offer = int(world.offer[realm, slot])
        kept = tables.weight[(offer - 1) % items] if offer else 0
        held = sum(n * weight for n, weight in zip(counts, tables.weight, strict=True))
        assert min(counts) >= 0 and world.gold[realm, slot] >= 0 and held + kept <= cfg.capacity
        left, price = int(world.offer_left[realm, slot]), int(world.offer_price[realm, slot])
        assert (1 <= left <= cfg.offer_ticks) if offer else (left == price == 0)


class Offer(NamedTuple):
    """An open offer in the plain auction."""

    gold: int
    left: int
    entity: int
    slot: int
    index: int


def auction(
    world: World, trade: Tensor, price: Tensor, sales: list[tuple[int, int, int]] | None = None
) -> World:
    """Returns the world after the exchange, computed agent by agent with sorted lists. Appends (realm, slot
    of the seller, gold) of each trade to ``sales``."""
    world = world.clone()
    cfg, tables = world.config, world.config.tables
    items = len(tables.items)
    for realm in range(world.realms):
        slots = [a for a in range(cfg.slots) if world.alive[realm, a] and world.health[realm, a] > 0]
        for slot in slots:
            if world.offer[realm, slot]:
                world.offer_left[realm, slot] -= 1
                if world.offer_left[realm, slot] == 0:
                    _take_back(world, realm, slot)
            _choose(world, realm, slot, int(trade[realm, slot]), int(price[realm, slot]))
        for item in range(items):
            bids, asks = [], []
            for slot in slots:
                offer, index = int(world.offer[realm, slot]), int(world.offer_price[realm, slot])
                entry = Offer(
                    tables.prices[index], int(world.offer_left[realm, slot]), int(world.entity[realm, slot]),
                    slot, index,
                )  # fmt: skip
                if offer == 1 + item:
                    asks.append(entry)
                elif offer == 1 + items + item:
                    bids.append(entry)
            bids.sort(key=lambda o: (-o.gold, o.left, o.entity))
            asks.sort(key=lambda o: (o.gold, o.left, o.entity))
            for bid, ask in zip(bids, asks, strict=False):
                if bid.gold < ask.gold:
                    break
                world.inventory[realm, bid.slot, item] += tables.lot[item]
                world.gold[realm, bid.slot] += bid.gold - ask.gold
                world.gold[realm, ask.slot] += ask.gold
                if sales is not None:
                    sales.append((realm, ask.slot, ask.gold))
                world.events[realm, bid.slot, Event.BOUGHT] += 1
                world.events[realm, ask.slot, Event.SOLD] += 1
                world.trades[realm, item] += torch.tensor([1, ask.gold])
                world.quotes[realm, item, 2] = 1 + ask.index
                for slot in (bid.slot, ask.slot):
                    _end(world, realm, slot)
    return world


def _end(world: World, realm: int, slot: int) -> None:
    for field in (world.offer, world.offer_price, world.offer_left):
        field[realm, slot] = 0


def _take_back(world: World, realm: int, slot: int) -> None:
    tables = world.config.tables
    offer = int(world.offer[realm, slot])
    if offer > len(tables.items):
        world.gold[realm, slot] += tables.prices[int(world.offer_price[realm, slot])]
    else:
        world.inventory[realm, slot, offer - 1] += tables.lot[offer - 1]
    _end(world, realm, slot)


def _choose(world: World, realm: int, slot: int, trade: int, price: int) -> None:
    cfg, tables = world.config, world.config.tables
    items = len(tables.items)
    if trade == 0:
        return
    had = int(world.offer[realm, slot])
    kept = [getattr(world, name)[realm, slot].clone() for name in _OWN]
    if had:
        _take_back(world, realm, slot)
    if trade == 2 * items + 1:
        world.events[realm, slot, Event.WITHDRAWN] += had > 0
        return
    item, gold = (trade - 1) % items, tables.prices[price]
    counts = world.inventory[realm, slot].tolist()
    room = cfg.capacity - sum(n * weight for n, weight in zip(counts, tables.weight, strict=True))
    if trade <= items and counts[item] >= tables.lot[item]:
        world.inventory[realm, slot, item] -= tables.lot[item]
    elif trade > items and world.gold[realm, slot] >= gold and room >= tables.weight[item]:
        world.gold[realm, slot] -= gold
    else:  # impossible: nothing changes
        for name, value in zip(_OWN, kept, strict=True):
            getattr(world, name)[realm, slot] = value
        return
    world.offer[realm, slot], world.offer_price[realm, slot] = trade, price
    world.offer_left[realm, slot] = cfg.offer_ticks
    world.events[realm, slot, Event.WITHDRAWN] += had > 0
    world.events[realm, slot, Event.OFFERED] += 1


_OWN = ("inventory", "gold", "offer", "offer_price", "offer_left")


def bustling(
    seed: int, realms: int = 3, slots: int = 13, content: Content = FEW, **settings: object
) -> tuple[World, Tensor, Tensor]:
    """Returns a random (world, trade, price): inventories nearly full, little gold, offers about to expire,
    some agents dead or just killed, ids in random order. Most choices are possible, some are not."""
    random = torch.Generator().manual_seed(seed)
    world = market(slots, realms, content, **{"capacity": 3, "offer_ticks": 5, **settings})
    cfg, tables = world.config, world.config.tables
    items, shape = len(tables.items), (realms, slots)

    def integers(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high + 1, shape, generator=random)

    offering = integers(0, 2, *shape) > 0
    world.offer.copy_(integers(1, 2 * items, *shape) * offering)
    world.offer_price.copy_(integers(0, len(tables.prices) - 1, *shape) * offering)
    world.offer_left.copy_(integers(1, cfg.offer_ticks, *shape) * offering)
    world.gold.copy_(integers(0, 2 * tables.prices[-1], *shape))
    weight = torch.tensor(tables.weight)
    counts = integers(0, 1, *shape, items) * torch.tensor(tables.lot) + integers(0, 2, *shape, items) % 2
    kept = weight[(world.offer.long() - 1) % items] * offering
    fits = (counts * weight).cumsum(-1) + kept[..., None] <= cfg.capacity
    world.inventory.copy_(torch.where(fits | (weight == 0), counts, 0))
    for realm in range(realms):
        ids = torch.randperm(3 * slots, generator=random)[:slots] + 5 * realm
        world.entity[realm, :slots] = ids
        world.next_entity[realm] = 3 * slots + 5 * realm
    fate = integers(0, 9, *shape)
    world.health[:, :slots][fate == 0] = 0
    gone = fate == 1
    world.alive[:, :slots][gone] = False
    for name in ("inventory", "gold", "offer_left"):
        field = getattr(world, name)
        field[gone] = integers(-300, 300, *field.shape).to(field.dtype)[gone]
    world.events.copy_(integers(0, 9, *world.events.shape))
    world.trades.copy_(integers(0, 9, *world.trades.shape))
    world.quotes.copy_(integers(0, len(tables.prices), *world.quotes.shape))
    trade = integers(0, 2 * items + 1, *shape) * (integers(0, 3, *shape) > 0)
    return world, trade, integers(0, len(tables.prices) - 1, *shape)


def renumbered(world: World, order: Tensor) -> World:
    """Moves the agent of slot order[a] to slot a. (The tiles still contain the old slots.)"""
    sizes = World.sizes(world.config, world.realms)
    for field in stock_fields():
        letters = field.shape.split()
        if letters[1:2] and letters[1] in "ASFE" and sizes[letters[1]]:
            tensor = getattr(world, field.name)
            assert tuple(tensor.shape) == field_shape(field, sizes)
            tensor[:, : len(order)] = tensor[:, order]
    return world
