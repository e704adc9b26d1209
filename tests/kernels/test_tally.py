"""Statistics counted by the kernel, compared with torch number by number."""

from __future__ import annotations

import pytest
import torch
from support.helpers import KERNEL_DEVICE, litter, random_world
from train.small import CPU, lively_env

pytest.importorskip("triton")

from nmmo_gpu.config import preset
from nmmo_gpu.env import random_actions
from nmmo_gpu.kernels import launch as launching
from nmmo_gpu.kernels.train import tally
from nmmo_gpu.train.metrics import LIFETIME_BINS, Tally, count
from nmmo_gpu.world.state import Cause


class Both:
    """Two nonempty tallies, one of torch and one of the kernel, optionally with few bins."""

    def __init__(self, bins=LIFETIME_BINS):
        self.ours, self.theirs = Tally(CPU, count), Tally(KERNEL_DEVICE, tally.count)
        for one in (self.ours, self.theirs):
            one.lifetimes = one.lifetimes[:bins].clone() + 3
            one.sums += torch.arange(len(one.sums), device=one.sums.device) - (7 << 33)
            one.causes += 5

    def add(self, world, acted, attacks):
        """Counts a tick by both, and checks that neither changes the world."""
        before, there = world.clone(), world.to(KERNEL_DEVICE)
        self.ours.add(world, acted, attacks)
        self.theirs.add(there, acted.to(KERNEL_DEVICE), attacks.to(KERNEL_DEVICE))
        for changed in (world, there.to(CPU)):
            for (name, tensor), (_, kept) in zip(changed.tensors(), before.tensors(), strict=True):
                assert torch.equal(tensor, kept), name

    def same(self):
        """Checks that both tallies are equal."""
        for name, found in self.theirs.state().items():
            assert torch.equal(found.cpu(), self.ours.state()[name]), name


@pytest.mark.parametrize("block", [32, None])
@pytest.mark.parametrize("bins", [5, LIFETIME_BINS])
def test_the_ticks_of_a_lively_world(monkeypatch, block, bins):
    """Two realms of 60 slots, in one block each and in two. With few bins, many lifetimes exceed the last
    one."""
    if block is not None:
        monkeypatch.setattr(launching, "BLOCK", block)
    env, both = lively_env(ticks=3), Both(bins)
    died, attacked = 0, 0
    for _ in range(8):
        acted, actions = env.world.alive.clone(), random_actions(env)
        died += int(env.step(actions)[2].sum())
        attacks = actions[..., 2] > 0
        attacked += int((attacks & acted).sum())
        both.add(env.world, acted, attacks)
        both.same()
    assert died > 5 and attacked > 20
    assert int(both.ours.sums[0]) == 2 * 8 - (7 << 33)
    assert int(both.ours.lifetimes.sum()) == 3 * bins + died
    if bins == 5:
        assert int(both.ours.lifetimes[-1]) > 3 + died / 3


@pytest.mark.parametrize(("slots", "npcs"), [(33, None), (70, None), (70, (3, 2, 1)), (31, (20, 30, 9))])
def test_any_world(monkeypatch, slots, npcs):
    """Random worlds with deaths of all causes, random numbers in empty slots, ages at and beyond the last
    bin, random ``acted`` and ``attacks``, and partly filled blocks. NPCs live and die too, and are not
    counted."""
    monkeypatch.setattr(launching, "BLOCK", 32)
    config = preset(
        "chaos", height=33, width=47, border=7, vision=7, slots=slots, populations=1,
        npcs=npcs is not None, npc_numbers=npcs or (),
    )  # fmt: skip
    both = Both(LIFETIME_BINS)
    for seed in range(6):
        random = torch.Generator().manual_seed(seed)
        world = litter(random_world(config, 3, seed, fill=0.6), seed)
        shape = world.alive.shape
        dead = ~world.alive & (torch.rand(shape, generator=random) < 0.5)
        world.cause.copy_(dead * torch.randint(len(Cause), shape, generator=random))
        ages = torch.tensor([0, 1, 7, LIFETIME_BINS - 2, LIFETIME_BINS - 1, LIFETIME_BINS, 1 << 30])
        world.age[dead] = ages[torch.randint(len(ages), shape, generator=random)][dead].int()
        acted, attacks = torch.rand(2, 3, slots, generator=random) < 0.7
        both.add(world, acted, attacks)
        if npcs:
            check_that_npcs_do_not_count(world, acted, attacks)
        both.same()
    assert int(both.ours.lifetimes[-1]) > 10 and int(both.ours.lifetimes[-2]) > 3
    assert (both.ours.causes[1:] > 5).all() and both.ours.causes[0] == 5


def check_that_npcs_do_not_count(world, acted, attacks):
    """Checks that torch counts the same in a world whose NPC slots have other contents."""
    other, slots = world.clone(), world.config.slots
    for name in ("alive", "cause", "age", "food", "water", "health", "damage"):
        field = getattr(other, name)[:, slots:]
        field.copy_(~field if field.dtype == torch.bool else field * 2 + 1)
    assert not torch.equal(world.alive, other.alive)
    counts = []
    for each in (world, other):
        tally = Tally(CPU, count)
        tally.add(each, acted, attacks)
        counts.append(tally.state())
    assert all(torch.equal(counts[0][name], counts[1][name]) for name in counts[0])


def test_worlds_in_which_nothing_happens():
    """No agent dies and none is alive, so only the tick is counted."""
    config = preset("chaos", height=33, width=47, border=7, vision=7, slots=40, populations=1)
    world, both = random_world(config, 2, 1), Both()
    nobody = torch.zeros_like(world.alive)
    world.cause.zero_()
    both.add(world, nobody, ~nobody)
    both.same()
    world.alive.zero_()
    world.damage.zero_()
    before = both.ours.sums.clone()
    both.add(world, nobody, ~nobody)
    both.same()
    assert (both.ours.sums - before).tolist() == [2, *[0] * 9]
