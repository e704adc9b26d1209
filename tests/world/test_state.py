"""World: its fields, copies and digest."""

from __future__ import annotations

import pytest
import torch
from support.helpers import ODD, assert_same, random_world

from nmmo_gpu.config import preset
from nmmo_gpu.world.state import World, causes, field_shape, stock_fields

CONFIG = preset("full", **ODD, slots=7, populations=7, npc_numbers=(3, 1, 1))
BARE = preset("chaos", **ODD, slots=7, populations=7)
FIELDS = [field.name for field in stock_fields()]


@pytest.fixture
def world():
    return random_world(CONFIG, 3, 4)


@pytest.mark.parametrize("config", [CONFIG, BARE], ids=["full", "chaos"])
def test_every_field_has_its_declared_shape_and_dtype_and_is_contiguous(config):
    world, sizes = random_world(config, 3, 4), World.sizes(config, 3)
    for field in stock_fields():
        tensor = getattr(world, field.name)
        assert tuple(tensor.shape) == field_shape(field, sizes)
        assert tensor.dtype == field.dtype and tensor.is_contiguous()


def test_the_letters_in_shapes():
    common = {"R": 3, "H": 33, "W": 47, "A": 7, "C": 5}
    goods = {"S": 12, "N": 5, "F": 7, "E": 12, "I": 22, "B": 23, "K": 3, "V": 21}
    assert World.sizes(CONFIG, 3) == common | goods
    assert World.sizes(BARE, 3) == common | dict.fromkeys(goods, 0) | {"S": 7}


def test_fields_of_the_full_game_take_no_memory_without_it():
    empty = {name for name, tensor in random_world(BARE, 3, 4).tensors() if tensor.numel() == 0}
    assert {"xp", "level", "inventory", "gold", "offer", "quotes", "aggro_target", "events", "ledger"} < empty
    assert not empty & {"alive", "health", "row", "occupant", "visited", "deaths"}


def test_the_state_is_all_but_the_workspaces(world):
    world.workspace("room", (2, 3), torch.int32)
    assert list(dict(world.tensors())) == FIELDS and len(FIELDS) > 20


def test_a_workspace_is_allocated_once_as_requested(world):
    room = world.workspace("room", (2, 3), torch.int32, fill=-7)
    assert room.dtype == torch.int32 and room.tolist() == [[-7] * 3] * 2
    room[1] = 5
    assert world.workspace("room", (2, 3), torch.int32, fill=-7) is room and room[1].tolist() == [5] * 3
    assert "room" not in world.clone().workspaces


def test_a_clone_is_equal_and_shares_no_memory(world):
    copy = world.clone()
    assert_same(copy, world)
    assert copy.digest() == world.digest() and copy.config is world.config
    for name, tensor in copy.tensors():
        assert tensor.data_ptr() != getattr(world, name).data_ptr()


@pytest.mark.parametrize("name", FIELDS)
def test_the_digest_depends_on_every_bit_of_every_field(world, name):
    before = world.digest()
    flat = getattr(world, name).view(-1).view(torch.uint8)
    for place in (0, -1):
        flat[place] ^= 1
        assert world.digest() != before
        flat[place] ^= 1
    assert world.digest() == before


def test_the_digest_does_not_depend_on_workspaces(world):
    before = world.digest()
    world.workspace("room", (7,), torch.uint8, fill=3)
    assert world.digest() == before


def test_tile_is_the_index_into_flattened_planes(world):
    """The plane has slot + 1 at the tile of each living agent."""
    assert world.tile().dtype == torch.int64 and world.tile().shape == (36,)
    found = world.occupant.view(-1)[world.tile()].view(3, 12)
    living = world.alive
    assert living[:, 7:].any()
    assert torch.equal(found[living], (torch.arange(12) + 1).expand(3, 12)[living].int())


def test_immune_agents_are_young_and_no_npcs(world):
    world.age[0] = torch.tensor([0, 1, 13, 14, 15, 16, 1000, 0, 3, 14, 15, 99])
    assert world.immune()[0].tolist() == [True] * 4 + [False] * 8


def test_agents_are_the_first_slots(world):
    view = world.agents(world.row)
    assert view.shape == (3, 7) and view.data_ptr() == world.row.data_ptr()


def test_causes_are_numbered_as_deaths_are_counted(world):
    assert [cause.name for cause in causes(world.config)] == ["NONE", "LAVA", "HUNGER", "THIRST", "COMBAT"]
    assert world.deaths.shape == (3, len(causes(world.config)))
    assert world.realms == 3 and world.device == torch.device("cpu")
