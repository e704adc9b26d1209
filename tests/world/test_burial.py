"""Burial: dead agents leave their tile, are counted, and stay on record."""

from __future__ import annotations

import torch
from support.helpers import assert_same, draw_world, show

from nmmo_gpu.world.state import Cause

PICTURE = """
    0.1.2
    3.4.5
"""


def test_dead_agents_leave_tile_and_slot_and_are_counted_by_cause(any_backend):
    """All other fields of a dead agent keep their values, and living agents do not change."""
    world = draw_world(PICTURE, slots=7, realms=2)
    causes = torch.tensor([Cause.LAVA, Cause.NONE, Cause.HUNGER, Cause.THIRST, Cause.COMBAT, Cause.LAVA, 0])
    world.cause[1] = causes.to(torch.uint8)
    world.age[1] = torch.arange(30, 37)
    world.explored[1] = torch.arange(7)
    world.deaths[1] = torch.tensor([0, 10, 20, 30, 40])
    expected = world.clone()
    expected.deaths[1] = torch.tensor([0, 12, 21, 31, 41])
    dead = causes != 0
    expected.alive[1] &= ~dead
    for slot in dead.nonzero().squeeze(1).tolist():
        at = 1, int(world.row[1, slot]), int(world.col[1, slot])
        expected.occupant[at] = 0
        expected.presence[at] = 0
    any_backend.burial(world)
    assert_same(world, expected)
    assert show(world, PICTURE, 1) == ["..1..", "....."]
    assert show(world, PICTURE, 0) == ["0.1.2", "3.4.5"]


def test_without_deaths_nothing_changes(any_backend):
    world = draw_world(PICTURE, realms=3)
    before = world.clone()
    any_backend.burial(world)
    assert_same(world, before)


def test_a_whole_realm_may_die_in_one_tick(any_backend):
    world = draw_world(PICTURE, realms=3)
    world.cause[0] = int(Cause.HUNGER)
    world.cause[2] = int(Cause.COMBAT)
    any_backend.burial(world)
    assert world.alive.sum(1).tolist() == [0, 6, 0]
    assert world.deaths.tolist() == [[0, 0, 6, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 6]]
    assert (world.occupant.flatten(1) != 0).sum(1).tolist() == [0, 6, 0]
    assert (world.presence.flatten(1) != 0).sum(1).tolist() == [0, 6, 0]
