"""Whole ticks of the full game, and of its systems separately."""

from __future__ import annotations

import pytest
import torch
from support.choices import random_choices
from support.helpers import ODD, check_invariants, litter, random_maps, random_world
from support.parity import CRAMPED, NUMBA, TORCH, Setting, Twin, crossed
from support.ticking import CPU, generator, poison, step_together, table_of

from nmmo_gpu.config import preset
from nmmo_gpu.world import tick
from nmmo_gpu.world.actions import action_heads, choices
from nmmo_gpu.world.events import Event
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.state import Cause

FEW_NPCS, NPCS = {"npc_numbers": (5, 7, 3)}, {"npc_numbers": (9, 14, 6)}
MIXED = {
    "populations": 3, "births": 3, "skills": True, "npcs": True, "exchange": True,
    "works": ("fish", "mine", "cook", "eat"), "tokens": 3, "birth_gold": 300, "immune_ticks": 2,
}  # fmt: skip
SETTINGS = {
    "full-7-and-15-npcs": Setting(
        preset("full", **CRAMPED, **FEW_NPCS, slots=7, populations=7, births=1, immune_ticks=2), 2
    ),
    "full-2x70-in-blocks-of-32": Setting(
        preset(
            "full", **CRAMPED, **FEW_NPCS, slots=70, populations=5, births=-1, spawn="anywhere",
            immune_ticks=3, ore_regrowth=0.4, offer_ticks=3,
        ),
        2, 32,
    ),
    "flat-combat-and-all-else": Setting(preset("chaos", **CRAMPED, **FEW_NPCS, slots=51, **MIXED), 1, 32),
    "law-without-npcs": Setting(
        preset("law", **CRAMPED, slots=33, populations=3, births=3, exchange=True, works=("mine", "armor")), 2
    ),
    "full-crowd": Setting(
        preset(
            "full", **ODD, **NPCS, slots=120, populations=8, births=-1, ore_regrowth=0.4, immune_ticks=3
        ),
        2, backends=NUMBA,
    ),
    "flat-crowd": Setting(preset("chaos", **ODD, **NPCS, slots=60, **MIXED), 2, backends=NUMBA),
    "chaos-with-npcs": Setting(
        preset("chaos", **ODD, **NPCS, slots=40, populations=5, births=-1, npcs=True), 3, backends=NUMBA
    ),
    "rolls-alone": Setting(
        preset("law", **ODD, slots=60, populations=2, births=-1, rolls=True), 2, backends=NUMBA
    ),
    "words-alone": Setting(
        preset("law", **ODD, slots=9, populations=3, births=1, tokens=2), 2, backends=NUMBA
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", crossed(SETTINGS), indirect=True)
def test_ticks_from_the_same_state(case):
    """Random choices for every head, without masks. The worlds are compared after each tick, so that the next
    tick starts from the same state. The backend's workspaces are kept, and poisoned between ticks."""
    config, twin = case.config, case.twin
    npc_kills = deaths = trades = moved = 0
    for seed, fill in enumerate(twin.few((0.8, 0.05, 1.0, 0.5), (0.8,))):
        world = litter(random_world(config, case.setting.realms, 7 + seed, fill=fill, odds="~.ff,,...%."), 7)
        world.health[:, config.slots :].clamp_(max=2)  # so that some are killed
        start, theirs, random = world.clone(), world.to(twin.device), generator(1)
        for time in range(twin.few(8, 5)):
            chosen = random_choices(world, random)
            there = [part if part is None else part.to(twin.device, copy=True) for part in chosen]
            tick.step(world, TORCH, *chosen)
            tick.step(theirs, twin.backend, *there)
            twin.same(theirs, world, f"seed {seed}, tick {time}")
            for part, before in zip(there, chosen, strict=True):
                assert part is None or torch.equal(part.cpu(), before), "orders were changed"
            check_invariants(world, littered=True)
            poison(theirs, random)
        npc_kills = npc_kills + (world.npc_kills - start.npc_kills).sum(0)
        deaths += int((world.deaths - start.deaths).sum())
        trades += int((world.trades - start.trades).sum())
        moved += int((world.tile() != start.tile()).any())
    assert deaths and moved
    if config.npcs and config.slots > 7:
        assert (npc_kills > 0).all() if twin.compiled else npc_kills.any(), "NPCs fall, and are looted"
        assert trades or not config.exchange


@pytest.mark.parametrize("name", ["full-7-and-15-npcs", "law-without-npcs"])
@pytest.mark.parametrize("kind", [torch.int16, torch.int32])
def test_ticks_from_actions_of_an_environment(twin, name, kind):
    """Actions of less than 64 bits; the heads after the third are views that are not contiguous."""
    config, realms = SETTINGS[name].config, SETTINGS[name].realms
    world = litter(random_world(config, realms, 3, fill=0.7), 3)
    theirs, random = world.to(twin.device), generator(2)
    sizes = torch.tensor(list(action_heads(config).values()))
    for time in range(2):
        seen = table_of(world)
        actions = (torch.rand(realms, config.slots, len(sizes), generator=random) * sizes).to(kind)
        (there,) = twin.copy(actions)
        tick.step(world, TORCH, *choices(config, actions, TORCH.decode(actions, seen)))
        decoded = twin.backend.decode(there, *twin.copy(seen))
        tick.step(theirs, twin.backend, *choices(config, there, decoded))
        twin.same(theirs, world, f"tick {time}")
        assert torch.equal(there.cpu(), actions)


@pytest.mark.parametrize("name", ["full-crowd", "flat-crowd"])
def test_200_hostile_ticks_apart_stay_together(name):
    """Two worlds that start empty, whose choices depend on their own state, compared by digest. Every
    possible event happens. Only for compiled loops, since interpreted kernels would take minutes."""
    twin = Twin("numba")
    config, realms = SETTINGS[name].config, SETTINGS[name].realms
    maps = random_maps(config, realms, generator(8), "~.ff,,..%....ff")
    ours, theirs = empty_world(config, maps, 6), empty_world(config, maps, 6)
    first, second = (generator(4) for _ in range(2))
    for time in range(200):
        tick.step(ours, TORCH, *random_choices(ours, first))
        tick.step(theirs, twin.backend, *random_choices(theirs, second))
        if time % 10 == 9:
            assert ours.digest() == theirs.digest(), f"apart by tick {time}"
    check_invariants(theirs)
    happened = ours.dead_totals.sum(0) + ours.events.sum((0, 1))
    impossible = set() if config.rolls else {Event.SMITHED}  # this config has no smithing
    assert {event for event in Event if not happened[event]} == impossible
    causes = set(ours.deaths.sum(0).nonzero().squeeze(1).tolist())
    assert causes >= {Cause.LAVA, Cause.HUNGER, Cause.COMBAT}
    assert (ours.trades.sum((0, 1)) > 30).all() and int(ours.npc_kills.sum()) > 20


def test_ticks_apart_stay_together(twin):
    """The same with few agents for each backend, compared by digest every 10 ticks."""
    config = preset(
        "full", **CRAMPED, slots=14, populations=7, births=-1, npc_numbers=(4, 3, 2), immune_ticks=2,
        regrowth=0.1, ore_regrowth=0.2, npc_births=0.3, max_food=12, max_water=12, heal_above=5,
    )  # fmt: skip
    ours = empty_world(config, random_maps(config, 1, generator(8), "~.ff,,..%....ff"), 6)
    theirs = ours.to(twin.device)
    random = generator(4), generator(4)
    ticks = twin.few(40, 20)
    for time in range(1, ticks + 1):
        tick.step(ours, TORCH, *random_choices(ours, random[0]))
        chosen = random_choices(theirs.to(CPU), random[1])
        tick.step(theirs, twin.backend, *(part if part is None else part.to(twin.device) for part in chosen))
        if time % 10 == 0:
            assert ours.digest() == theirs.digest(), f"apart by tick {time}"
            check_invariants(theirs.to(CPU))
    assert int(ours.next_entity) > ticks // 2 and int(ours.dead_totals.sum()) > ticks // 2


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("full", {"realms": 2, "slots": 14, "populations": 7, "births": -1, **FEW_NPCS}),
        ("chaos", {"realms": 1, "slots": 9, "populations": 1, "births": 3, "exchange": True, "tokens": 4}),
    ],
)
def test_steps_of_two_environments_return_the_same(twin, name, settings):
    """Observations, rewards, terminations, truncations and infos, with random actions that each draws
    itself."""
    settings = {**CRAMPED, **settings, "seed": 2}
    world = step_together(twin.few(50, 5), name, twin.name, twin.device, **settings)
    check_invariants(world.to(CPU))
