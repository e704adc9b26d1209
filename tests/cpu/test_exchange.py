"""The compiled exchange: its masks, its threads, and large realms. ``tests/parity`` compares it with the rule
in torch."""

from __future__ import annotations

import importlib

import pytest
import torch
from support.helpers import ODD, assert_same, litter, random_world
from support.traders import FEW, bustling, market, run

from nmmo_gpu.config import preset
from nmmo_gpu.content import STANDARD, Content, Item
from nmmo_gpu.world import exchange as rule
from nmmo_gpu.world.backend import Backend, resolve
from nmmo_gpu.world.inventory import room

pytest.importorskip("numba")
twin = importlib.import_module("nmmo_gpu.cpu.exchange")
compiled = importlib.import_module("nmmo_gpu.cpu.compile").compiled
threads = importlib.import_module("nmmo_gpu.cpu.threads")

NUMBA = resolve("numba", torch.device("cpu"))
HEAVY = Content(items=(Item("ore"), Item("stone")), prices=(3, 4, 9))
SETTINGS = {
    "full": {**ODD, "border": 12, "slots": 105, "populations": 7},
    "three realms of seven, without NPCs": {**ODD, "slots": 7, "npcs": False, "capacity": 3},
    "nothing but an exchange": {
        **ODD, "slots": 50, "npcs": False, "skills": False, "works": (), "rolls": False, "tokens": 0,
    },
    "few things": {**ODD, "slots": 60, "npcs": False, "works": (), "content": FEW, "capacity": 5},
    "two things at three prices": {**ODD, "slots": 40, "npcs": False, "works": (), "content": HEAVY},
}  # fmt: skip


def worlds(setting):
    """Yields (world, trade, price): random worlds with garbage in the slots of dead agents, random
    choices."""
    config = preset("full", **{"populations": 1, **SETTINGS[setting]})
    for seed in range(3):
        world = litter(random_world(config, 3, seed, fill=0.9, wounded=True), seed)
        random = torch.Generator().manual_seed(seed)
        shape = (3, config.slots)
        trade = torch.randint(2 * len(config.content.items) + 2, shape, generator=random)
        yield world, trade, torch.randint(len(config.content.prices), shape, generator=random)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("content", [FEW, STANDARD], ids=["few", "standard"])
def test_large_realms_that_threads_share(monkeypatch, workers, content):
    """One and two realms of 1500 agents each, with the threshold for large realms lowered."""
    monkeypatch.setattr(threads, "LARGE", 1000)
    before = torch.get_num_threads()
    torch.set_num_threads(workers)
    try:
        for realms in (1, 2):
            world, trade, price = bustling(realms, realms, 1500, content, height=120, width=50)
            theirs, trades = world.clone(), world.trades.clone()
            for time in range(3):
                rule.exchange(world, trade, price)
                NUMBA.exchange(theirs, trade, price)
                assert_same(theirs, world, f"exchange {time}: numba, then torch")
                trade = trade.flip(1)
            assert int((world.trades - trades)[..., 0].sum()) > 200 * realms
    finally:
        torch.set_num_threads(before)


@compiled
def _write_all(out, trades_at, prices_at, fields, space, goods):
    alive, health, inventory, gold, offer, offer_price, offer_left = fields
    lots, weights, prices = goods
    for r in range(alive.shape[0]):
        for a in range(offer.shape[1]):
            if alive[r, a] and health[r, a] > 0:
                twin.write_possible(
                    out[r, a], trades_at, prices_at, inventory[r, a], gold[r, a], offer[r, a],
                    offer_price[r, a], offer_left[r, a], space[r, a], lots, weights, prices,
                )  # fmt: skip


@pytest.mark.parametrize("setting", SETTINGS)
def test_masks_are_the_same_and_nothing_else_is_written(setting):
    for world, _, _ in worlds(setting):
        tables = world.config.tables
        world.offer_left[:, ::2].clamp_(max=1)
        trades, prices = 2 * len(tables.items) + 2, 3 * len(tables.prices)
        records = torch.full((3, world.config.slots, trades + prices + 9), 77, dtype=torch.uint8)
        expected = records.clone()
        possible = rule.possible_trades(world)
        expected[..., 3 : 3 + trades] = possible[0]
        expected[..., 6 + trades : 6 + trades + prices] = rule.possible_prices(world, *possible).flatten(2)
        living = world.agents(world.alive) & (world.agents(world.health) > 0)
        expected[~living] = 77
        fields = (
            world.alive, world.health, world.inventory, world.gold, world.offer, world.offer_price,
            world.offer_left,
        )  # fmt: skip
        arrays = tuple(field.numpy() for field in fields)
        _write_all(records.numpy(), 3, 6 + trades, arrays, room(world).numpy(), twin.numbers(tables))
        assert torch.equal(records, expected)
        assert possible[0].any() and not possible[0].all()


def test_offers_at_equal_prices_are_matched_by_age_then_id():
    """2000 offers at one price, of five ages: the unmatched ones are the newest, or have the largest ids."""
    world = market(2000, 1, FEW, height=120, width=50)
    random = torch.Generator().manual_seed(1)
    world.entity.copy_(torch.randperm(2000, generator=random) + (1 << 40))
    world.next_entity.fill_((1 << 40) + 2000)
    world.inventory[:, 1::2, 0] = 1
    world.offer[:, 0::2] = 5
    world.offer_price[:, 0::2] = 2
    world.offer_left[:, 0::2] = torch.randint(2, 7, (1000,), generator=random).short()
    order = world.offer_left[0].long() * (1 << 41) + world.entity[0]
    trade = torch.zeros(1, 2000, dtype=torch.int64)
    trade[0, 1:801:2] = 1
    served = order[0::2].argsort()[:400] * 2
    for config in (Backend(), NUMBA):
        after = world.clone()
        run(config, after, trade, torch.full_like(trade, 1))
        gone = (world.offer[0] > 0) & (after.offer[0] == 0)
        assert sorted(served.tolist()) == gone.nonzero().squeeze(1).tolist()
