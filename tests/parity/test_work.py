"""Work. ``tests/cpu`` and ``tests/kernels`` test its masks, which each backend implements itself."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from support.goods import MORE, busy_world, random_works
from support.helpers import ODD
from support.parity import TORCH

from nmmo_gpu.content import STANDARD, WORKS, Content

SETTINGS = {
    "full": (2, None, {}),
    "in blocks of 32": (2, 32, {"npcs": False}),
    "three realms of seven": (3, None, {**ODD, "slots": 7}),
    "no skills": (1, None, {"skills": False, "max_health": 30, "ore_regrowth": 0.0}),
    "more content": (1, 64, {"content": MORE, "ore_regrowth": 1.0}),
    "a few works": (1, None, {"works": ("eat", "mine", "sword"), "capacity": 9}),
    "no mining": (1, None, {"works": ("fish", "armor", "cook")}),
    "no works": (1, None, {"works": ()}),
    "nothing to make": (
        1, None, {"content": Content(items=STANDARD.items[:4], prices=(1,)), "npcs": False},
    ),
}  # fmt: skip
"""Number of realms, slots per block of the kernels, changes to the config."""


@cache
def settled(setting, seed):
    """Returns a world with garbage in the slots of dead agents, in which some agents were killed."""
    realms, _, changes = SETTINGS[setting]
    return busy_world(realms, seed, **changes)


@pytest.mark.parametrize("setting", SETTINGS)
def test_worlds_after_work_are_the_same(twin, setting, monkeypatch):
    """Choices are a slice of a larger tensor of a smaller dtype, and workspaces hold values of an earlier
    tick. With the works of the full game all events happen, and agents compete for rocks."""
    block = SETTINGS[setting][1]
    if block and not twin.compiled:
        monkeypatch.setattr("nmmo_gpu.kernels.launch.BLOCK", block)
    rose, mined, tried = 0, 0, 0
    for seed in range(twin.few(3, 1)):
        world = settled(setting, seed).clone()
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
    world = settled("more content", 0).clone()
    pearl = len(STANDARD.items)
    world.inventory.zero_()
    world.offer.zero_()
    world.inventory[..., pearl] = 2
    world.level[...] = 9
    work = torch.full((world.realms, world.config.slots), WORKS.index("armor"))
    after = twin.both("work", world, work)
    works = world.agents(world.alive & (world.health > 0))
    assert torch.equal(after.inventory[..., pearl], 2 + works.int())
