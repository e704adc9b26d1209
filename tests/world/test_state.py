"""World: its fields, copies and digest."""

from __future__ import annotations

import pytest
import torch
from helpers import ODD, assert_same, random_world

from nmmo_gpu.config import preset
from nmmo_gpu.world.state import Cause, World, field_shape, tensor_fields

CONFIG = preset("chaos", **ODD, slots=7, populations=7)
FIELDS = [field.name for field in tensor_fields()]


@pytest.fixture
def world():
    return random_world(CONFIG, 3, 4)


def test_every_field_has_its_declared_shape_and_dtype_and_is_contiguous(world):
    sizes = World.sizes(CONFIG, 3)
    assert sizes == {"R": 3, "H": 33, "W": 47, "A": 7}
    for field in tensor_fields():
        tensor = getattr(world, field.name)
        assert tuple(tensor.shape) == field_shape(field, sizes)
        assert tensor.dtype == field.metadata["dtype"] and tensor.is_contiguous()


def test_the_state_is_all_but_the_workspaces(world):
    world.workspace("room", (2, 3), torch.int32)
    assert list(dict(world.tensors())) == FIELDS and len(FIELDS) > 20


def test_a_workspace_is_made_once_as_asked(world):
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
def test_the_digest_sees_a_single_bit_of_every_field(world, name):
    before = world.digest()
    flat = getattr(world, name).view(-1).view(torch.uint8)
    for place in (0, -1):
        flat[place] ^= 1
        assert world.digest() != before
        flat[place] ^= 1
    assert world.digest() == before


def test_the_digest_does_not_see_workspaces(world):
    before = world.digest()
    world.workspace("room", (7,), torch.uint8, fill=3)
    assert world.digest() == before


def test_tile_is_the_index_into_flattened_planes(world):
    """The plane holds slot + 1 at the tile of whoever lives."""
    assert world.tile().dtype == torch.int64 and world.tile().shape == (21,)
    found = world.occupant.view(-1)[world.tile()].view(3, 7)
    living = world.alive
    assert living.any() and torch.equal(found[living], (torch.arange(7) + 1).expand(3, 7)[living].int())


def test_immune_is_young(world):
    world.age[0] = torch.tensor([0, 1, 13, 14, 15, 16, 1000])
    assert world.immune()[0].tolist() == [True] * 4 + [False] * 3


def test_causes_are_numbered_as_the_deaths_are_counted(world):
    assert [cause.name for cause in Cause] == ["NONE", "LAVA", "HUNGER", "THIRST", "COMBAT"]
    assert world.deaths.shape == (3, len(Cause))
    assert world.realms == 3 and world.device == torch.device("cpu")
