"""Upkeep, exploration, regrowth and burial."""

from __future__ import annotations

import pytest
import torch
from support.helpers import random_world
from support.parity import CRAMPED
from support.ticking import generator

from nmmo_gpu.config import preset
from nmmo_gpu.world.state import Cause

NOWS = ((1 << 31) - 2, (1 << 31) + 7, (1 << 32) - 1, (7 << 32) + 5)


def test_regrowth(any_case):
    returned = 0
    for _, world in any_case.worlds():
        after = any_case.twin.both("regrowth", world)
        returned += int((after.material != world.material).sum())
    assert returned > 0


def test_upkeep_and_exploration(any_case):
    """With agents that are killed, chilled, starving or on lava, and random bits in ``visited``."""
    both = any_case.twin.both
    seen, new = set(), 0
    for seed, world in any_case.worlds(wounded=True):
        chance = torch.rand(world.alive.shape, generator=generator(seed))
        on_lava = world.tile()[(world.alive & (chance < 0.4)).view(-1)]
        world.material.view(-1)[on_lava] = 0
        world.regrow_at.view(-1)[on_lava] = -1
        world.food[world.row % 3 == seed % 3] = 1
        world.water[world.col % 3 == seed % 3] = 1
        after = both("upkeep", world)
        seen |= set(after.cause.unique().tolist())
        assert not after.chilled.any()
        explored = both("explore", after)
        new += int((explored.explored - after.explored).sum())
        if any_case.twin.compiled:
            assert torch.equal(both("explore", explored).explored, explored.explored)
    assert {Cause.NONE, Cause.LAVA} <= seen and new > 0


@pytest.mark.parametrize("chance", [0.4, 0.025, 1e-4, 1.0])
def test_upkeep_of_ticks_beyond_31_and_32_bits(twin, chance, monkeypatch):
    """Tiles eaten in ticks whose low bits wrap, with regrowth tables of different lengths."""
    if not twin.compiled:
        monkeypatch.setattr("nmmo_gpu.kernels.launch.BLOCK", 64)
    config = preset("law", **CRAMPED, slots=120, populations=1, births=0, regrowth=chance)
    eaten = set()
    for seed, now in enumerate(NOWS):
        world = random_world(config, 1, seed, fill=1.0, odds="fffff~")
        world.tick.fill_(now)
        after = twin.both("upkeep", world)
        due = after.regrow_at[(after.regrow_at != world.regrow_at) & (world.material != after.material)]
        eaten |= set((due - now).tolist())
    assert len(eaten) > 1 or chance == 1.0


def test_exploration_beyond_the_torus_of_64(twin):
    """Columns and rows of 63, 64 and more: the sign bit, and words that two positions share."""
    config = preset("law", height=150, width=140, border=7, vision=7, slots=120, populations=1, births=0)
    world = random_world(config, 1, 2, fill=1.0, odds=".")
    world.col[0, :40] = 63
    world.col[0, 40:60] = 127
    world.row[0, 30:50] = 128
    for _ in range(2):
        world = twin.both("explore", world)


def test_burial(any_case):
    for seed, world in any_case.worlds():
        causes = torch.randint(5, world.alive.shape, generator=generator(seed))
        world.cause.copy_(torch.where(world.alive, causes, 0))
        after = any_case.twin.both("burial", world)
        assert int(world.alive.sum() - after.alive.sum()) == int((world.cause != 0).sum())
