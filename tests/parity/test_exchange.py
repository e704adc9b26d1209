"""The exchange and its quotes. ``tests/world/test_exchange.py`` tests them with hand-checked examples and
against a plain auction."""

from __future__ import annotations

import pytest
import torch
from support.helpers import ODD, litter, random_world
from support.parity import BACKENDS, NUMBA, TORCH, Case, Setting, by_block, crossed
from support.ticking import generator
from support.traders import FEW, bustling, market, run

from nmmo_gpu.config import preset
from nmmo_gpu.content import STANDARD, Content, Item

HEAVY = Content(items=(Item("ore"), Item("stone")), prices=(3, 4, 9))
CROWD = {**ODD, "border": 12, "slots": 70, "populations": 5}


def setting(block=None, backends=NUMBA, **changes):
    """Returns a setting of the full game, with three realms for numba alone and two for both backends."""
    return Setting(
        preset("full", **{**ODD, "populations": 1, **changes}), 3 if backends is NUMBA else 2, block,
        backends=backends,
    )  # fmt: skip


BOTH = {"block": 32, "backends": BACKENDS}
SETTINGS = {
    "npcs behind the agents": setting(**BOTH, **CROWD, npcs=True, npc_numbers=(5, 8, 4)),
    "without npcs": setting(**BOTH, **CROWD, npcs=False),
    "three realms of seven": setting(slots=7, npcs=False, capacity=3),
    "nothing but an exchange": setting(slots=50, npcs=False, skills=False, works=(), rolls=False, tokens=0),
    "few things": setting(slots=60, npcs=False, works=(), content=FEW, capacity=5),
    "two things at three prices": setting(slots=40, npcs=False, works=(), content=HEAVY),
}


def both(twin, world, trade, price):
    """Runs the exchange and its quotes by torch and by the backend, and checks that the results are equal.
    Returns the number of trades."""
    theirs, before = world.to(twin.device), world.trades.clone()
    TORCH.exchange(world, trade, price)
    if twin.compiled:
        run(twin.backend, theirs, trade.to(torch.int16), price.to(torch.uint8))
    else:
        twin.backend.exchange(theirs, *twin.copy(trade, price))
    twin.same(theirs, world, "exchange")
    TORCH.quotes(world)
    twin.backend.quotes(theirs)
    twin.same(theirs, world, "quotes")
    return int((world.trades - before)[..., 0].sum())


@pytest.mark.parametrize("case", crossed(SETTINGS), indirect=True)
def test_random_worlds(case: Case):
    """With garbage in the slots of the dead."""
    met = 0
    for seed in range(3):
        world = litter(random_world(case.config, case.setting.realms, seed, fill=0.9, wounded=True), seed)
        random, content = generator(seed), case.config.content
        shape = (world.realms, case.config.slots)
        trade = torch.randint(2 * len(content.items) + 2, shape, generator=random)
        price = torch.randint(len(content.prices), shape, generator=random)
        met += both(case.twin, world, trade.to(torch.int16), price.to(torch.int16))
    assert met > 5 or case.config.slots == 7


@by_block(32)
@pytest.mark.parametrize("content", [FEW, STANDARD], ids=["few", "standard"])
def test_bustling_markets(twin, content, block, monkeypatch):
    """Two exchanges in a row of 150 agents, in one block and in several; both use the same workspaces."""
    if block:
        monkeypatch.setattr("nmmo_gpu.kernels.launch.BLOCK", block)
    met = 0
    for seed in range(2):
        world, trade, price = bustling(seed, 2, 150, content)
        for _ in range(2):
            met += both(twin, world, trade, price)
            trade = trade.flip(1)
    assert met > (100 if content is FEW else 20)


def test_one_book_over_many_blocks(twin, monkeypatch):
    """All 300 agents of a realm trade the same item at few prices."""
    if not twin.compiled:
        monkeypatch.setattr("nmmo_gpu.kernels.launch.BLOCK", 32)
    world = market(300, 1, FEW, offer_ticks=2, height=47)
    random = generator(3)
    world.entity.copy_(torch.randperm(300, generator=random) + 7)
    world.next_entity.fill_(400)
    world.inventory[..., 0] = 1
    trade = 1 + 4 * torch.randint(2, (1, 300), generator=random)
    price = torch.randint(4, (1, 300), generator=random)
    assert both(twin, world, trade, price) > 50
    assert both(twin, world, torch.zeros_like(trade), price) == 0
    assert not both(twin, world, torch.zeros_like(trade), price) and not world.offer.any()
