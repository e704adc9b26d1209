"""Whole ticks of the full game by the kernels, against the rules in torch, to the last bit."""

from __future__ import annotations

import pytest
import torch
from support.choices import random_choices
from support.helpers import (
    KERNEL_DEVICE,
    ODD,
    assert_same,
    check_invariants,
    litter,
    random_maps,
    random_world,
    unclean,
)
from support.ticking import CPU, generator, on_kernel_device, poison, step_together, table_of

pytest.importorskip("triton")

from nmmo_gpu.config import preset
from nmmo_gpu.kernels import launch as launching
from nmmo_gpu.world import tick
from nmmo_gpu.world.actions import action_heads, choices
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.reset import empty_world

TORCH, TRITON = resolve("torch", CPU), resolve("triton", KERNEL_DEVICE)
CRAMPED = {**ODD, "border": 12}
NPCS = {"npc_numbers": (5, 7, 3)}
SETTINGS = {
    "full-7-and-15-npcs": (
        2, None, preset("full", **CRAMPED, **NPCS, slots=7, populations=7, births=1, immune_ticks=2),
    ),
    "full-2x70-in-blocks-of-32": (
        2, 32,
        preset(
            "full", **CRAMPED, **NPCS, slots=70, populations=5, births=-1, spawn="anywhere", immune_ticks=3,
            ore_regrowth=0.4, offer_ticks=3,
        ),
    ),
    "flat-combat-and-all-else": (
        1, 32,
        preset(
            "chaos", **CRAMPED, **NPCS, slots=50, populations=2, births=3, skills=True, npcs=True,
            exchange=True, works=("fish", "mine", "cook", "eat"), tokens=3, birth_gold=300, immune_ticks=2,
        ),
    ),
    "law-without-npcs": (
        2, None,
        preset("law", **CRAMPED, slots=33, populations=3, births=3, exchange=True, works=("mine", "armor")),
    ),
}  # fmt: skip
"""(realms, slots to a block if not as many as fit, rules)"""


@pytest.fixture(params=SETTINGS)
def setting(request, monkeypatch):
    """(realms, config); the cut of the slots is in force."""
    realms, block, config = SETTINGS[request.param]
    if block:
        monkeypatch.setattr(launching, "BLOCK", block)
    return realms, config


def test_whole_ticks_from_the_same_state_each(setting):
    """Hostile choices of every head, as they are. The worlds are compared after each tick, so the next starts
    from the same bits; the kernels' workspaces stay, and are poisoned in between."""
    realms, config = setting
    world = litter(random_world(config, realms, 7, fill=0.8, odds="~.ff,,...%."), 7)
    world.health[:, config.slots :].clamp_(max=2)  # so that some fall
    start, twin, random = world.clone(), world.to(KERNEL_DEVICE), generator(1)
    for time in range(5):
        chosen = random_choices(world, random)
        there = on_kernel_device(chosen)
        tick.step(world, TORCH, *chosen)
        tick.step(twin, TRITON, *there)
        assert_same(twin.to(CPU), world, f"tick {time}: triton, then torch")
        for part, before in zip(there, chosen, strict=True):
            assert part is None or torch.equal(part.cpu(), before), "orders were changed"
        check_invariants(world, from_birth=False)
        assert unclean(twin) == []
        poison(twin, random)
    assert (world.deaths > start.deaths).any() and (world.next_entity > start.next_entity).all()
    assert (world.tile() != start.tile()).any()
    if config.npcs and config.slots > 7:
        assert (world.npc_kills > start.npc_kills).any() and (world.trades > start.trades).any()


@pytest.mark.parametrize("name", ["full-7-and-15-npcs", "law-without-npcs"])
@pytest.mark.parametrize("kind", [torch.int16, torch.int32])
def test_ticks_from_actions_as_an_environment_hands_them_on(name, kind):
    """Of fewer bits than 64, the heads behind the third as views that are not contiguous."""
    realms, _, config = SETTINGS[name]
    world = litter(random_world(config, realms, 3, fill=0.7), 3)
    twin, random = world.to(KERNEL_DEVICE), generator(2)
    sizes = torch.tensor(list(action_heads(config).values()))
    for time in range(2):
        seen = table_of(world)
        actions = (torch.rand(realms, config.slots, len(sizes), generator=random) * sizes).to(kind)
        there = actions.to(KERNEL_DEVICE)
        tick.step(world, TORCH, *choices(config, actions, TORCH.decode(actions, seen)))
        tick.step(twin, TRITON, *choices(config, there, TRITON.decode(there, seen.to(KERNEL_DEVICE))))
        assert_same(twin.to(CPU), world, f"tick {time}: triton, then torch")
        assert torch.equal(there.cpu(), actions)


def test_40_ticks_apart_stay_together():
    """Two worlds from nothing, each driven by what happens in it, and compared every 10 ticks by digest."""
    config = preset(
        "full", **CRAMPED, slots=14, populations=7, births=-1, npc_numbers=(4, 3, 2), immune_ticks=2,
        regrowth=0.1, ore_regrowth=0.2, npc_births=0.3, max_food=12, max_water=12, heal_above=5,
    )  # fmt: skip
    ours = empty_world(config, random_maps(config, 1, generator(8), "~.ff,,..%....ff"), 6)
    theirs = ours.to(KERNEL_DEVICE)
    random = generator(4), generator(4)
    for time in range(1, 41):
        tick.step(ours, TORCH, *random_choices(ours, random[0]))
        tick.step(theirs, TRITON, *on_kernel_device(random_choices(theirs.to(CPU), random[1])))
        if time % 10 == 0:
            assert ours.digest() == theirs.digest(), f"apart by tick {time}"
            check_invariants(theirs.to(CPU))
            assert unclean(theirs) == []
    assert int(ours.next_entity) > 25 and int(ours.dead_totals.sum()) > 30


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("full", {"realms": 2, "slots": 14, "populations": 7, "births": -1, **NPCS}),
        ("chaos", {"realms": 1, "slots": 9, "populations": 1, "births": 3, "exchange": True, "tokens": 4}),
    ],
)
def test_6_steps_of_two_environments_return_the_same(name, settings):
    """Observations, rewards, who died, and what is told of them, from random actions drawn by either."""
    step_together(6, name, "triton", KERNEL_DEVICE, **{**CRAMPED, **settings, "seed": 2})
