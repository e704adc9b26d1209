"""Whole ticks by the kernels, fused and phase by phase, against the rules in torch; and whole runs."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from support.helpers import (
    GARBAGE,
    KERNEL_DEVICE,
    ODD,
    assert_same,
    check_invariants,
    litter,
    random_maps,
    random_orders,
    random_world,
    unclean,
)
from support.ticking import CPU, generator, on_kernel_device, poison, step_together, table_of, take_turns

pytest.importorskip("triton")

from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.kernels import launch as launching
from nmmo_gpu.world import tick
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.state import Cause

TORCH, TRITON = resolve("torch", CPU), resolve("triton", KERNEL_DEVICE)
ONE_BY_ONE = dataclasses.replace(TRITON, fused=None)
"""The same kernels, phase by phase."""
CRAMPED = {**ODD, "border": 12}
MUCH_FOOD = "~.ff,,...#%....fff^"
SETTINGS = {
    "chaos-7x7": (1, None, preset("chaos", **ODD, slots=7, populations=7, births=1)),
    "law-7x1": (3, None, preset("law", **ODD, slots=7, populations=1, births=3, spawn="anywhere")),
    "chaos-2x70-in-blocks-of-32": (
        2, 32, preset("chaos", **CRAMPED, slots=70, populations=5, births=3, immune_ticks=3, regrowth=0.2),
    ),
    "chaos-150-kept-full-in-blocks-of-64": (
        1, 64, preset(
            "chaos", **CRAMPED, slots=150, populations=3, births=-1, spawn="anywhere", damage=(3, 2, 1),
        ),
    ),
}  # fmt: skip


@pytest.fixture(params=SETTINGS)
def setting(request, monkeypatch):
    """(realms, config); the cut of the slots is in force."""
    realms, block, config = SETTINGS[request.param]
    if block:
        monkeypatch.setattr(launching, "BLOCK", block)
    return realms, config


def test_whole_ticks_from_the_same_state_each(setting):
    """Actions as an environment hands them on, decoded by either. The worlds are compared after each tick, so
    the next starts from the same bits; the kernels' workspaces stay, and are poisoned in between."""
    realms, config = setting
    world = litter(random_world(config, realms, 7, fill=0.8, full=True, odds=MUCH_FOOD), 7)
    start, twin = world.clone(), world.to(KERNEL_DEVICE)
    random = generator(1)
    for time in range(8):
        seen = table_of(world)
        heads = torch.tensor([5, 3, config.nearest + 1])
        actions = (torch.rand(*world.alive.shape, 3, generator=random) * heads).long()
        tick.step(world, TORCH, *TORCH.decode(actions, seen))
        tick.step(twin, TRITON, *TRITON.decode(*on_kernel_device((actions, seen))))
        assert_same(twin.to(CPU), world, f"tick {time}: triton, then torch")
        check_invariants(world, from_birth=False)
        assert unclean(twin) == []
        poison(twin, random)
    assert (world.deaths > start.deaths).any() and (world.next_entity > start.next_entity).all()
    assert (world.tile() != start.tile()).any()


def test_fused_is_phase_by_phase_and_orders_may_be_of_any_integers(setting):
    """And neither writes into the orders."""
    realms, config = setting
    world = litter(random_world(config, realms, 3, fill=0.9, odds=MUCH_FOOD), 3)
    random = generator(2)
    for time in range(2):
        step = random_orders(world, random)
        wide = on_kernel_device(step)
        narrow = [
            part.to(kind) for part, kind in zip(wide, (torch.uint8, torch.uint8, torch.int32), strict=True)
        ]
        fused, apart = world.to(KERNEL_DEVICE), world.to(KERNEL_DEVICE)
        tick.step(fused, TRITON, *wide)
        tick.step(apart, ONE_BY_ONE, *narrow)
        assert all(torch.equal(a.cpu(), b) for a, b in zip(wide, step, strict=True))
        assert all(torch.equal(a.cpu().long(), b) for a, b in zip(narrow, step, strict=True))
        tick.step(world, TORCH, *step)
        assert_same(apart.to(CPU), world, f"tick {time}: phase by phase, then torch")
        assert_same(fused.to(CPU), world, f"tick {time}: fused, then torch")


def test_ticks_whose_low_bits_wrap():
    """Across 2^31 and 2^32, with tiles that return, and in which everybody contests, eats and is born."""
    config = preset("chaos", **CRAMPED, slots=60, populations=2, births=3, regrowth=0.5)
    for now in ((1 << 31) - 2, (1 << 32) - 2):
        world = random_world(config, 1, 5, fill=0.8, odds="fff,")
        world.tick.fill_(now)
        world.regrow_at.fill_(-1)
        world.material.copy_(world.base)
        twin = world.to(KERNEL_DEVICE)
        random = generator(now)
        for time in range(4):
            step = random_orders(world, random)
            tick.step(world, TORCH, *step)
            tick.step(twin, TRITON, *on_kernel_device(step))
            assert_same(twin.to(CPU), world, f"tick {now + time}: triton, then torch")
        assert int(world.tick) == now + 4


def test_300_ticks_apart_stay_together():
    """Two worlds, each driven by what happens in it, and compared every 50 ticks by digest. Agents live and
    die in every way there is."""
    config = preset(
        "chaos", **CRAMPED, slots=14, populations=7, births=2, immune_ticks=3, damage=(2, 1, 1), regrowth=0.1
    )
    ours = empty_world(config, random_maps(config, 1, generator(8), MUCH_FOOD), 6)
    theirs = ours.to(KERNEL_DEVICE)
    random = generator(4), generator(4)
    for time in range(1, 301):
        tick.step(ours, TORCH, *random_orders(ours, random[0]))
        tick.step(theirs, TRITON, *on_kernel_device(random_orders(theirs.to(CPU), random[1])))
        if time % 50 == 0:
            assert ours.digest() == theirs.digest(), f"apart by tick {time}"
            check_invariants(theirs.to(CPU))
            assert unclean(theirs) == []
    assert int(ours.next_entity) > 100
    assert ours.deaths[0].nonzero().flatten().tolist() == [
        Cause.LAVA, Cause.HUNGER, Cause.THIRST, Cause.COMBAT,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("chaos", {"realms": 1, "slots": 21, "populations": 7, "births": 3, "reward": "death"}),
        ("law", {"realms": 2, "slots": 7, "populations": 1, "births": -1, "spawn": "anywhere"}),
    ],
)
def test_20_steps_of_two_environments_return_the_same(name, settings):
    """Observations, rewards, who died, and what is told of them, from random actions drawn by either."""
    world = step_together(20, name, "triton", KERNEL_DEVICE, **{**CRAMPED, **settings, "seed": 2})
    assert int(world.next_entity.min()) > 7 and world.alive.any()


def test_observations_may_be_written_into_a_buffer_given(monkeypatch):
    """As a rollout has one: slices of a larger tensor, of which nothing else is touched."""
    monkeypatch.setattr(launching, "LANES", 8192)
    config = preset("chaos", **CRAMPED, slots=21, populations=3, births=-1)
    buffers = []
    for backend, device in (("torch", CPU), ("triton", KERNEL_DEVICE)):
        env = Env(EnvConfig(world=config, realms=1, seed=5, device=device.type, backend=backend))
        rollout = env.layout.allocate(5, 1, 21, device=device).fill_(GARBAGE)
        env.reset(out=rollout[1])
        env.step(random_actions(env), out=rollout[3])
        assert (rollout[::2] == GARBAGE).all()
        buffers.append(rollout.cpu())
    assert torch.equal(*buffers) and (buffers[0][3] != GARBAGE).any()


def test_backends_may_take_turns_on_one_world():
    """A world begun by one goes on under the other."""
    config = preset("chaos", **CRAMPED, slots=21, populations=7, births=3)
    take_turns(config, 1, 4, "triton", KERNEL_DEVICE)
