"""Large worlds: the same rules, the same bits, and sizes that fit the types they are kept in."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from helpers import assert_same, check_invariants

from nmmo_gpu.config import preset
from nmmo_gpu.env import Env, make, random_actions
from nmmo_gpu.world.layout import SELF_FEATURES
from nmmo_gpu.world.rules import Rules
from nmmo_gpu.world.spawning import birthplace
from nmmo_gpu.world.state import World, field_shape, tensor_fields
from nmmo_gpu.world.terrain import generate, safe_table, shore

MILLION = preset("million")
SLOTS = 1 << 15
SIDE = 1449
"""64 tiles to each slot, and just above 2^21 in all: agents of the compiled loops look around row by row."""


def large(backend: str) -> Env:
    if backend == "numba":
        pytest.importorskip("numba")
    return make(
        "million", height=SIDE, width=SIDE, slots=SLOTS, realms=1, seed=4, device="cpu", backend=backend
    )


def test_thirty_thousand_agents_in_one_realm_are_the_same_by_torch_and_by_numba():
    """A few ticks, from the first births on, compared by digest and records; and nothing is out of order."""
    ours, theirs = large("torch"), large("numba")
    assert torch.equal(ours.world.base, theirs.world.base)
    ours.reset()
    theirs.reset()
    for time in range(4):
        assert torch.equal(ours.records, theirs.records), f"tick {time}"
        if ours.world.digest() != theirs.world.digest():
            assert_same(theirs.world, ours.world, f"tick {time}: numba, then torch")
        actions = random_actions(ours)
        ours.step(actions)
        theirs.step(actions)
    world = theirs.world
    assert_same(world, ours.world)
    check_invariants(world)
    assert float(world.alive.float().mean()) > 0.98
    # Everywhere alike, where one can stand: as many in each ninth of the map as there is room.
    room = safe_table()[world.base[0].long()]
    third = (SIDE - 2 * world.config.border) // 3
    for top in range(world.config.border, SIDE - third, third):
        for left in range(world.config.border, SIDE - third, third):
            part = (0, slice(top, top + third), slice(left, left + third))
            density = (world.occupant[part] > 0).sum() / room[part[1:]].sum()
            assert abs(float(density) / (int(world.alive.sum()) / int(room.sum())) - 1) < 0.1


def test_threads_that_share_the_realm_make_the_same_world():
    """Some ticks with one thread and with three."""
    before = torch.get_num_threads()
    digests = []
    for workers in (1, 3):
        torch.set_num_threads(workers)
        try:
            env = large("numba")
            env.reset()
            for _ in range(12):
                env.step(random_actions(env))
            digests.append((env.world.digest(), env.records.sum().item()))
        finally:
            torch.set_num_threads(before)
    assert digests[0] == digests[1]
    check_invariants(env.world)


def test_a_million_fits():
    """Indices of tiles and slots in int32 and in 24 bits of a float, rows and columns in what is observed."""
    sizes = World.sizes(MILLION, 1)
    for field in tensor_fields():
        elements = torch.Size(field_shape(field, sizes)).numel()
        assert elements < 1 << 31, field.name
    assert MILLION.height * MILLION.width < 1 << 31 and MILLION.birthplaces < 1 << 31
    assert max(MILLION.height, MILLION.width) <= torch.iinfo(torch.int16).max, SELF_FEATURES
    last = torch.tensor([0, MILLION.birthplaces - 1])
    side, border = MILLION.width, MILLION.border
    assert birthplace(MILLION, last).tolist() == [border * (side + 1), (side - border - 1) * (side + 1)]


def test_the_far_corner_of_the_largest_map(rules: Rules):
    """A map of 8192 x 64 tiles: whoever is born in its last rows stands, eats and sees there."""
    config = dataclasses.replace(MILLION, width=64, slots=8192)
    maps = generate(3, 1, config.height, config.width)
    from nmmo_gpu.world.genesis import empty_world

    world = empty_world(config, maps, 3)
    assert torch.equal(world.shore, shore(maps))
    nobody = torch.zeros(1, config.slots, dtype=torch.int64)
    from nmmo_gpu.world import tick

    for _ in range(3):
        tick.step(world, rules, nobody + 1, nobody, nobody - 1)
    check_invariants(world)
    assert int(world.row[world.alive].max()) > 8170
