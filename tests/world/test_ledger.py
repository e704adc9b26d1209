"""The ledger: what exists, what should exist, and the error if they differ."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.goods import give
from support.helpers import ODD, assert_same, draw_world, litter, random_world

from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.content import Content
from nmmo_gpu.env import Env
from nmmo_gpu.errors import WorldError
from nmmo_gpu.world.events import INFLOWS, Flow
from nmmo_gpu.world.ledger import balance, check_ledger, holdings
from nmmo_gpu.world.state import World

FULL = preset("full", **ODD, slots=7, populations=7, npc_numbers=(3, 2, 1))
ITEMS = FULL.tables.items
GOLD = len(ITEMS)
KNIFE, ORE = ITEMS.index("tin knife"), ITEMS.index("iron ore")


def balanced(seed: int = 1) -> World:
    """Returns three realms in the middle of their history, with goods in empty slots that must not count."""
    return litter(random_world(FULL, 3, seed), seed)


def living_agent(world: World, realm: int) -> int:
    """Returns a living agent of a realm."""
    return int(world.agents(world.alive)[realm].nonzero()[0])


def sells(world: World, slot: int, item: int, price: int = 0, left: int = 3) -> None:
    """Opens an offer to sell in every realm, without anything in escrow."""
    world.offer[:, slot] = 1 + item
    world.offer_price[:, slot], world.offer_left[:, slot] = price, left


def test_existing_goods_by_hand():
    """Inventories and gold of living agents, lots on sale, and gold in escrow; nothing of empty slots."""
    world = draw_world("0.1.2", "full", npcs=False, slots=5, populations=5, realms=2)
    world.gold[:] = torch.tensor([7, 20, 1, 999, 999])
    give(world, 0, tin_knife=4, iron_ore=2)
    give(world, 2, iron_ore=1)
    give(world, 3, iron_ore=50)  # slots 3 and 4 are empty
    sells(world, 0, KNIFE, price=5)  # ten of them
    sells(world, 1, ORE, price=5)  # one
    sells(world, 3, ORE)
    world.offer[:, 2] = 1 + len(ITEMS) + KNIFE  # bids the tenth price, 60 gold
    world.offer_price[:, 2], world.offer_left[:, 2] = 9, 1
    world.offer[:, 4], world.offer_price[:, 4] = 1 + len(ITEMS) + ORE, 15
    world.inventory[1, 0, ORE] = 0
    expected = torch.zeros(2, GOLD + 1, dtype=torch.int64)
    expected[:, KNIFE], expected[0, ORE], expected[1, ORE] = 4 + 10, 2 + 1 + 1, 1 + 1
    expected[:, GOLD] = 7 + 20 + 1 + 60
    assert torch.equal(holdings(world), expected)


def test_due_goods_by_hand():
    """What was made, dropped and given at birth was added; all other flows were subtracted."""
    world = draw_world("0", "full", npcs=False)
    world.ledger[0, ORE] = torch.tensor([1000, 200, 30, 4, 50, 600, 70])
    assert tuple(flow.name for flow in INFLOWS) == ("MADE", "DROPPED", "INITIAL") and len(Flow) == 7
    due = balance(world)
    assert due[0, ORE] == 1230 - 724 and due[0, GOLD] == 10 and int(due.sum()) == 1230 - 724 + 10


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_a_balanced_world_passes_unchanged(seed):
    world = balanced(seed)
    before = world.clone()
    check_ledger(world)
    assert_same(world, before)
    empty = preset("full", **ODD, slots=7, populations=7, npcs=False, content=Content(prices=(1,)))
    check_ledger(random_world(empty, 2, seed))


TAMPERED = {
    "one item too many": (ORE, 1, lambda world, *who: world.inventory[*who, ORE].add_(1)),
    "one gold missing": (GOLD, -1, lambda world, *who: world.gold[who].sub_(1)),
    "one made that is gone": (ORE, -1, lambda world, realm, _: world.ledger[realm, ORE, Flow.MADE].add_(1)),
    "three lost that are there": (ORE, 3, lambda world, realm, _: world.ledger[realm, ORE,
    Flow.LOST].add_(3)),
    "a meal eaten twice": (8, 1, lambda world, realm, _: world.ledger[realm, 8, Flow.EATEN].add_(1)),
}  # fmt: skip


@pytest.mark.parametrize("realm", [0, 1, 2])
@pytest.mark.parametrize("what", TAMPERED)
def test_a_difference_is_reported_with_realm_tick_and_item(what, realm):
    """The error also has the existing and the due number."""
    item, too_many, tamper = TAMPERED[what]
    world = balanced(4)
    tamper(world, realm, living_agent(world, realm))
    there, due = int(holdings(world)[realm, item]), int(balance(world)[realm, item])
    assert there - due == too_many
    name = (*ITEMS, "gold")[item]
    with pytest.raises(WorldError) as caught:
        check_ledger(world)
    text = str(caught.value)
    assert (
        f"realm {realm}, tick {int(world.tick)}, {name}: there are {there}, "
        f"but according to the ledger {due} " in text
    )
    assert f"made {int(world.ledger[realm, item, Flow.MADE])}" in text and "1 accounts are wrong" in text
    assert (caught.value.field, caught.value.realm, caught.value.value) == ("ledger", realm, due)


@pytest.mark.parametrize("side", ["sell", "buy"])
def test_an_offer_without_escrow_is_reported(side):
    """Ten knives on sale that no agent put into escrow, and a bid of 675 gold without the gold."""
    world = balanced(5)
    slot = living_agent(world, 1)
    for field in (world.offer, world.offer_price, world.offer_left):
        field[1] = 0
    world.ledger[1, :, Flow.MADE] += holdings(world)[1] - balance(world)[1]
    check_ledger(world)
    sell = side == "sell"
    world.offer[1, slot] = 1 + KNIFE + (0 if sell else len(ITEMS))
    world.offer_price[1, slot], world.offer_left[1, slot] = 15, 2
    held = holdings(world)[1, KNIFE if sell else GOLD]
    short = int(held) - (10 if sell else 675)
    with pytest.raises(
        WorldError,
        match=f"realm 1, .*{'tin knife' if sell else 'gold'}: there are {held}, .* ledger {short} ",
    ):
        check_ledger(world)


def test_the_first_wrong_account_is_reported_with_their_number():
    world = balanced(6)
    for realm, item in ((2, ORE), (1, 7), (1, 3)):
        world.ledger[realm, item, Flow.MADE] += 1
    with pytest.raises(WorldError, match=f"realm 1, tick .*, {ITEMS[3]}: .*; 3 accounts are wrong in total"):
        check_ledger(world)


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_an_environment_stops_after_the_step_that_breaks_the_ledger(backend):
    """With ``check``; otherwise it continues."""
    steps = {}
    for checked in (True, False):
        config = EnvConfig(world=FULL, realms=3, device="cpu", backend=backend, check=checked)
        env = Env(config, random_world(FULL, 3, 7))
        actions = torch.zeros(3, 7, len(env.action_heads), dtype=torch.int64)
        env.step(actions)
        env.world.ledger[2, ORE, Flow.BURNT] += 1
        tick = int(env.world.tick)
        steps[checked] = env.world
        if checked:
            with pytest.raises(WorldError, match=f"realm 2, tick {tick + 1}, iron ore"):
                env.step(actions)
        else:
            env.step(actions)
    assert_same(steps[True], steps[False], "checking changed the world")


def test_an_environment_checks_the_ledger_in_reset():
    """Reset is a tick too, in which the first agents get their gold."""
    env = Env(EnvConfig(world=FULL, realms=3, device="cpu", backend="torch", check=True))
    env.world.ledger[0, GOLD, Flow.LOST] = 1
    with pytest.raises(WorldError, match="realm 0, tick 1, gold"):
        env.reset()
