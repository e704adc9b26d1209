"""Whole ticks of the full game by the compiled twins, against the rules in torch, to the last bit."""

from __future__ import annotations

import pytest
import torch
from support.choices import random_choices
from support.helpers import ODD, assert_same, check_invariants, litter, random_maps, random_world, unclean
from support.ticking import CPU, generator, step_together, take_turns

from nmmo_gpu.config import preset
from nmmo_gpu.world import tick
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.events import Event
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.state import Cause

pytest.importorskip("numba")
TORCH, NUMBA = resolve("torch", CPU), resolve("numba", CPU)
NPCS = {"npc_numbers": (9, 14, 6)}
SETTINGS = {
    "full-7x7": (3, preset("full", **ODD, slots=7, populations=7, births=1, npc_numbers=(5, 7, 3))),
    "full-crowd": (
        2,
        preset(
            "full", **ODD, **NPCS, slots=120, populations=8, births=-1, ore_regrowth=0.4, immune_ticks=3
        ),
    ),
    "full-without-npcs": (
        3, preset("full", **ODD, slots=40, populations=2, births=3, spawn="anywhere", npcs=False)
    ),
    "chaos-with-npcs": (3, preset("chaos", **ODD, **NPCS, slots=40, populations=5, births=-1, npcs=True)),
    "flat-combat-and-all-else": (
        2,
        preset(
            "chaos", **ODD, **NPCS, slots=60, populations=3, births=3, skills=True, npcs=True, exchange=True,
            works=("fish", "mine", "cook", "eat"), tokens=3, birth_gold=300, immune_ticks=2,
        ),
    ),
    "law-with-exchange": (1, preset("law", **ODD, slots=60, populations=2, births=3, exchange=True)),
    "rolls-alone": (2, preset("law", **ODD, slots=60, populations=2, births=-1, rolls=True)),
    "words-alone": (2, preset("law", **ODD, slots=9, populations=3, births=1, tokens=2)),
}  # fmt: skip
"""Everything at once, and systems by themselves."""
FILLS = (0.05, 0.5, 0.9, 1.0)


@pytest.fixture(params=SETTINGS)
def setting(request):
    """(realms, config)"""
    return SETTINGS[request.param]


def test_whole_ticks_from_the_same_state_each(setting):
    """The state is transplanted, so that each tick starts from the same bits, and what differs is named. The
    worlds begin in the middle of their history, with litter in the slots of the dead."""
    realms, config = setting
    npc_kills = 0
    for seed, fill in enumerate(FILLS):
        world = litter(random_world(config, realms, seed, fill=fill, full=seed == 2), seed)
        random = generator(seed)
        start = world.npc_kills.sum(0)
        for time in range(12):
            chosen = random_choices(world, random)
            kept = [part if part is None else part.clone() for part in chosen]
            twin = world.clone()
            tick.step(world, TORCH, *chosen)
            tick.step(twin, NUMBA, *chosen)
            assert_same(twin, world, f"seed {seed}, tick {time}: numba, then torch")
            check_invariants(world, from_birth=False)
            assert unclean(twin) == []
            for part, before in zip(chosen, kept, strict=True):
                assert part is None or torch.equal(part, before), "orders were changed"
        npc_kills = npc_kills + world.npc_kills.sum(0) - start
    if config.npcs and config.slots > 7:
        assert (npc_kills > 0).all(), "NPCs of each kind fall, and are looted"


@pytest.mark.parametrize("name", ["full-7x7", "full-crowd", "flat-combat-and-all-else"])
def test_200_hostile_ticks_apart_stay_together(name):
    """Two worlds from nothing, each driven by what happens in it, compared by digest; everything that can
    happen does."""
    realms, config = SETTINGS[name]
    maps = random_maps(config, realms, generator(8), "~.ff,,..%....ff")
    ours, theirs = empty_world(config, maps, 6), empty_world(config, maps, 6)
    first, second = (generator(4) for _ in range(2))
    for time in range(200):
        tick.step(ours, TORCH, *random_choices(ours, first))
        tick.step(theirs, NUMBA, *random_choices(theirs, second))
        assert ours.digest() == theirs.digest(), f"apart in tick {time}"
    check_invariants(theirs)
    if name == "full-7x7":
        return
    happened = ours.dead_totals.sum(0) + ours.events.sum((0, 1))
    impossible = set() if config.rolls else {Event.SMITHED}  # among the works there are no such
    assert {event for event in Event if not happened[event]} == impossible
    causes = set(ours.deaths.sum(0).nonzero().squeeze(1).tolist())
    assert causes >= {Cause.LAVA, Cause.HUNGER, Cause.COMBAT}
    assert (ours.trades.sum((0, 1)) > 30).all() and int(ours.npc_kills.sum()) > 20


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("full", {"realms": 2, "slots": 42, "populations": 7, "births": -1, **NPCS}),
        ("full", {"realms": 1, "slots": 8, "populations": 1, "births": 1, "npcs": False}),
        ("chaos", {"realms": 2, "slots": 30, "populations": 3, "births": 3, "npcs": True, **NPCS}),
    ],
)
def test_120_steps_of_two_environments_return_the_same(name, settings):
    """From random actions that the masks allow, drawn by either: records, rewards, deaths, and the world."""
    world = step_together(120, name, "numba", **{**ODD, **settings, "seed": 2})
    check_invariants(world)
    assert int(world.next_entity.sum()) > 20


def test_backends_may_take_turns_on_one_world():
    """A world begun by one goes on under the other."""
    take_turns(preset("full", **ODD, **NPCS, slots=21, populations=7, births=3), 3, 20, "numba")
