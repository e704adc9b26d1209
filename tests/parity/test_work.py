"""Work. ``tests/cpu`` and ``tests/kernels`` test its masks, which each backend implements itself."""

from __future__ import annotations

import pytest
import torch
from support.goods import WORK_SETTINGS, random_works, work_world
from support.parity import TORCH

from nmmo_gpu.content import STANDARD, WORKS


@pytest.mark.parametrize("setting", WORK_SETTINGS)
def test_worlds_after_work_are_the_same(twin, setting, monkeypatch):
    """Choices are a slice of a larger tensor of a smaller dtype, and workspaces hold values of an earlier
    tick. With the works of the full game all events happen, and agents compete for rocks."""
    block = WORK_SETTINGS[setting][1]
    if block and not twin.compiled:
        monkeypatch.setattr("nmmo_gpu.kernels.launch.BLOCK", block)
    rose, mined, tried = 0, 0, 0
    for seed in range(twin.few(3, 1)):
        world = work_world(setting, seed).clone()
        work, theirs, before = random_works(world, seed), world.to(twin.device), world.clone()
        actions = torch.full((*work.shape, 3), 5, dtype=twin.few(torch.int32, torch.int16))
        actions[..., 1] = work
        if not twin.compiled:
            theirs.workspace("ore struck", tuple(work.shape), torch.int32).fill_(9)
        TORCH.work(world, work)
        twin.backend.work(theirs, actions.to(twin.device)[..., 1])
        twin.same(theirs, world, f"work, seed {seed}")
        rose = rose + (world.events - before.events).sum((0, 1))
        mined += int((world.material != before.material).sum())
        tried += int((world.events - before.events)[..., 6].sum())
    if setting == "full" and twin.compiled:
        assert (rose[4:12] > 0).all() and rose[:4].sum() == rose[12:].sum() == 0
        assert 0 < mined < tried


def test_a_recipe_that_takes_and_makes_the_same_item(twin):
    """Takes one of two pearls and makes two."""
    world = work_world("more content", 0).clone()
    pearl = len(STANDARD.items)
    world.inventory.zero_()
    world.offer.zero_()
    world.inventory[..., pearl] = 2
    world.level[...] = 9
    work = torch.full((world.realms, world.config.slots), WORKS.index("armor"))
    after = twin.both("work", world, work)
    works = world.agents(world.alive & (world.health > 0))
    assert torch.equal(after.inventory[..., pearl], 2 + works.int())
