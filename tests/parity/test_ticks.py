"""Whole ticks and runs of law and chaos by each backend."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from support.helpers import (
    GARBAGE,
    ODD,
    check_invariants,
    litter,
    random_maps,
    random_orders,
    random_world,
)
from support.parity import CRAMPED, NUMBA, ODD_RULES, TORCH, Setting, crossed
from support.ticking import CPU, generator, poison, step_together, table_of, take_turns

from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.world import tick
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.state import Cause

MUCH_FOOD = "~.ff,,...#%....fff^"
SETTINGS = {
    "chaos-7x7": Setting(preset("chaos", **ODD, slots=7, populations=7, births=1)),
    "law-7x1": Setting(preset("law", **ODD, slots=7, populations=1, births=3, spawn="anywhere"), 3),
    "chaos-2x70-in-blocks-of-32": Setting(
        preset("chaos", **CRAMPED, slots=70, populations=5, births=3, immune_ticks=3, regrowth=0.2), 2, 32
    ),
    "chaos-150-kept-full-in-blocks-of-64": Setting(
        preset("chaos", **CRAMPED, slots=150, populations=3, births=-1, spawn="anywhere", damage=(3, 2, 1)),
        1, 64,
    ),
    "chaos-crowd": Setting(preset("chaos", **ODD, slots=240, populations=8, births=-1), 3, backends=NUMBA),
    "odd-rules": Setting(
        preset("law", **CRAMPED, slots=60, populations=2, births=-1, **ODD_RULES), backends=NUMBA
    ),
}  # fmt: skip
CASES = crossed(SETTINGS)


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_ticks_from_the_same_state(case):
    """Each backend decodes the actions itself. The worlds are compared after each tick, so that the next tick
    starts from the same state. The backend's workspaces are kept, and poisoned between ticks."""
    config, twin = case.config, case.twin
    deaths = births = moved = 0
    for seed in range(twin.few(4, 1)):
        fill = (0.8, 0.3, 1.0, 0.6)[seed]
        world = litter(
            random_world(config, case.setting.realms, 7 + seed, fill=fill, full=seed == 0, odds=MUCH_FOOD), 7
        )
        start, theirs, random = world.clone(), world.to(twin.device), generator(1)
        for time in range(8):
            seen = table_of(world)
            heads = torch.tensor([5, 3, config.nearest + 1])
            actions = (torch.rand(*world.alive.shape, 3, generator=random) * heads).long()
            tick.step(world, TORCH, *TORCH.decode(actions, seen))
            tick.step(theirs, twin.backend, *twin.backend.decode(*twin.copy(actions, seen)))
            twin.same(theirs, world, f"seed {seed}, tick {time}")
            check_invariants(world, littered=True)
            poison(theirs, random)
        deaths += int((world.deaths - start.deaths).sum())
        births += int((world.next_entity > start.next_entity).all())
        moved += int((world.tile() != start.tile()).any())
    assert deaths and births and moved


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_orders_of_any_integer_dtype(case):
    """Stretches of phases and, where a backend has both, ticks phase by phase; neither changes the orders."""
    twin = case.twin
    apart = dataclasses.replace(twin.backend, stretches=())
    world = litter(random_world(case.config, case.setting.realms, 3, fill=0.9, odds=MUCH_FOOD), 3)
    random = generator(2)
    for time in range(2):
        step = random_orders(world, random)
        wide = twin.copy(*step)
        kinds = (torch.uint8, torch.uint8, torch.int32)
        narrow = [part.to(kind) for part, kind in zip(wide, kinds, strict=True)]
        one, other = world.to(twin.device), world.to(twin.device)
        tick.step(one, twin.backend, *wide)
        tick.step(other, apart, *narrow)
        assert all(torch.equal(a.cpu(), b) for a, b in zip(wide, step, strict=True))
        assert all(torch.equal(a.cpu().long(), b) for a, b in zip(narrow, step, strict=True))
        tick.step(world, TORCH, *step)
        twin.same(other, world, f"tick {time}, phase by phase")
        twin.same(one, world, f"tick {time}")


def test_ticks_whose_low_bits_wrap(twin):
    """Ticks across 2^31 and 2^32 with regrowth, contested tiles, meals and births."""
    config = preset("chaos", **CRAMPED, slots=60, populations=2, births=3, regrowth=0.5)
    for now in ((1 << 31) - 2, (1 << 32) - 2):
        world = random_world(config, 1, 5, fill=0.8, odds="fff,")
        world.tick.fill_(now)
        world.regrow_at.fill_(-1)
        world.material.copy_(world.base)
        theirs, random = world.to(twin.device), generator(now)
        for time in range(4):
            step = random_orders(world, random)
            tick.step(world, TORCH, *step)
            tick.step(theirs, twin.backend, *twin.copy(*step))
            twin.same(theirs, world, f"tick {now + time}")
        assert int(world.tick) == now + 4


def test_many_ticks_apart_stay_together(twin):
    """Two worlds whose orders depend on their own state, compared by digest every 50 ticks. Agents die of
    every cause."""
    config = preset(
        "chaos", **CRAMPED, slots=14, populations=7, births=2, immune_ticks=3, damage=(2, 1, 1), regrowth=0.1
    )
    ours = empty_world(config, random_maps(config, 1, generator(8), MUCH_FOOD), 6)
    theirs = ours.to(twin.device)
    random = generator(4), generator(4)
    for time in range(1, 1 + twin.few(300, 100)):
        tick.step(ours, TORCH, *random_orders(ours, random[0]))
        tick.step(theirs, twin.backend, *twin.copy(*random_orders(theirs.to(CPU), random[1])))
        if time % 50 == 0:
            assert ours.digest() == theirs.digest(), f"apart by tick {time}"
            check_invariants(theirs.to(CPU))
    assert int(ours.next_entity) > 70
    assert ours.deaths[0].nonzero().flatten().tolist() == [
        Cause.LAVA, Cause.HUNGER, Cause.THIRST, Cause.COMBAT,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "settings", "few"),
    [
        ("chaos", {"realms": 3, "slots": 21, "populations": 7, "births": 3, "reward": "death"}, 5),
        ("law", {"realms": 2, "slots": 7, "populations": 1, "births": -1, "spawn": "anywhere"}, 16),
    ],
)
def test_steps_of_two_environments_return_the_same(twin, name, settings, few):
    """Observations, rewards, terminations, truncations and infos, with random actions that each draws
    itself."""
    settings = {**CRAMPED, **settings, "seed": 2}
    world = step_together(twin.few(150, few), name, twin.name, twin.device, **settings)
    assert int(world.next_entity.min()) > 7 and world.alive.any()


def test_observations_written_into_a_given_buffer(twin, monkeypatch):
    """Slices of a larger tensor, as in a rollout; the rest of the tensor stays unchanged."""
    if not twin.compiled:
        monkeypatch.setattr("nmmo_gpu.kernels.launch.LANES", 8192)
    config = preset("chaos", **CRAMPED, slots=21, populations=3, births=-1)
    buffers = []
    for backend, device in (("torch", CPU), (twin.name, twin.device)):
        env = Env(EnvConfig(world=config, realms=1, seed=5, device=device.type, backend=backend))
        rollout = env.layout.allocate(5, 1, 21, device=device).fill_(GARBAGE)
        env.reset(out=rollout[1])
        env.step(random_actions(env), out=rollout[3])
        assert (rollout[::2] == GARBAGE).all()
        buffers.append(rollout.cpu())
    assert torch.equal(*buffers) and (buffers[0][3] != GARBAGE).any()


@pytest.mark.parametrize(
    ("twin", "name"), [("numba", "chaos"), ("numba", "full"), ("triton", "chaos")], indirect=["twin"]
)
def test_backends_may_take_turns_on_one_world(twin, name):
    """A world started by one backend continues under the other."""
    npcs = {"npc_numbers": (9, 14, 6)} if name == "full" else {}
    config = preset(name, **CRAMPED, **npcs, slots=21, populations=7, births=3)
    take_turns(config, twin.few(3, 1), twin.few(20, 4), twin.name, twin.device)
