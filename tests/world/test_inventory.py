"""The inventory: weights, and the unit that an offer reserves."""

from __future__ import annotations

import pytest
import torch
from support.goods import draw_workers, give, item

from nmmo_gpu.world.inventory import held, reserved, room


def test_room_is_the_unused_capacity():
    """Computed by hand for different agents in every realm; knives weigh nothing."""
    world = draw_workers("0.1.2", realms=3)
    assert room(world).tolist() == [[28, 28, 28]] * 3
    give(world, 1, copper_ore=3, iron_armor=2, raw_goblin=1, tin_knife=500)
    give(world, 2, copper_ore=20, iron_sword=8)
    world.inventory[2, 2, 0] = 0
    assert held(world).tolist() == [[0, 6, 28], [0, 6, 28], [0, 6, 8]]
    assert room(world).tolist() == [[28, 22, 0], [28, 22, 0], [28, 22, 20]]
    assert room(world).shape == (3, 3)


@pytest.mark.parametrize(
    ("name", "units"),
    [("copper ore", 1), ("raw shrimp", 1), ("cooked goblin", 1), ("iron armor", 1), ("copper knife", 0),
     ("iron knife", 0)],
)  # fmt: skip
@pytest.mark.parametrize("side", ["sell", "buy"])
def test_an_offer_reserves_the_weight_of_its_item(name, units, side):
    """On either side: a seller may get the item back, a buyer gets it."""
    world = give(draw_workers("0.1"), copper_sword=5)
    world.offer[0, 1] = 1 + item(world, name) + (side == "buy") * len(world.config.tables.items)
    assert reserved(world).tolist() == [[0, units]]
    assert room(world).tolist() == [[23, 23 - units]]


@pytest.mark.parametrize("capacity", [1, 127])
def test_other_capacities(capacity):
    world = draw_workers("0", capacity=capacity)
    assert room(world).tolist() == [[capacity]]
    give(world, raw_shrimp=1)
    assert room(world).tolist() == [[capacity - 1]]


def test_npcs_have_no_inventory():
    world = draw_workers("0.1", npcs=True, npc_numbers=(2, 1, 1), realms=2)
    assert world.alive.shape == (2, 6) and room(world).shape == (2, 2)


def test_room_does_not_change_the_world():
    world = give(draw_workers("0"), raw_shrimp=1)
    before = world.digest()
    assert room(world).dtype == torch.int32
    assert world.digest() == before
