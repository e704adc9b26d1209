"""Choices and births of NPCs."""

from __future__ import annotations

import pytest
import torch
from support.npc_worlds import CONFIGS, restless_world
from support.parity import TORCH, TRITON, Case, Setting, crossed
from support.ticking import generator

from nmmo_gpu.config import preset
from nmmo_gpu.content import Content
from nmmo_gpu.world.reset import empty_world

SETTINGS = {name: Setting(config, realms) for name, (realms, config) in CONFIGS.items()}
SETTINGS["crowd in blocks"] = SETTINGS["crowd"]._replace(block=32, backends=TRITON)
CASES = crossed(SETTINGS)


def orders(world, seed, kind=torch.int64):
    """Returns random (move, style, target) of agents; the dtype of ``target`` is wide enough for any slot."""
    random = generator(seed)
    shape = world.realms, world.config.slots
    move, style = torch.randint(3, (2, *shape), generator=random).to(kind)
    target = torch.randint(-1, world.config.entities, shape, generator=random)
    return move, style, target.int() if kind == torch.uint8 else target


def both_choose(twin, world, theirs, seed=1, kind=torch.int64):
    """Returns the choices of torch; checks that the backend makes the same choices and changes the world in
    the same way."""
    chosen = orders(world, seed, kind)
    got = twin.backend.npcs(theirs, *twin.copy(*chosen))
    expected = TORCH.npcs(world, *chosen)
    assert all(torch.equal(a.long(), b.long().cpu()) for a, b in zip(expected, got, strict=True))
    twin.same(theirs, world, "npcs")
    return expected


def both_bear(twin, world, theirs):
    """Runs NPC births by torch and by the backend, and checks that the results are equal. Returns the number
    of births."""
    before = int(world.alive.sum())
    TORCH.npc_births(world)
    twin.backend.npc_births(theirs)
    twin.same(theirs, world, "births of npcs")
    return int(world.alive.sum()) - before


def worlds(case: Case, fills):
    """Yields (seed, world, its copy on the backend's device), from nearly empty to full."""
    for seed, fill in enumerate(fills):
        world = restless_world(case.config, case.setting.realms, seed, fill)
        yield seed, world, world.to(case.twin.device)


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_choices(case):
    """Several times in one world, so that ``aggro_ticks`` run out and workspaces are reused."""
    moves = attacks = 0
    slots = case.config.slots
    for seed, ours, theirs in worlds(case, case.twin.few((0.02, 0.3, 0.6, 0.9, 1.0), (0.4, 1.0))):
        for kind in (torch.int64, torch.uint8):
            move, _, target = both_choose(case.twin, ours, theirs, seed, kind)
            moves += int((move[:, slots:] > 0).sum())
            attacks += int((target[:, slots:] >= 0).sum())
            ours.tick += 1
            theirs.tick += 1
    assert (moves > 0 and attacks > 0) or sum(case.config.npc_counts) == 1


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_births(case):
    born = 0
    for _, ours, theirs in worlds(case, case.twin.few((0.02, 0.3, 0.6, 0.9, 1.0), (0.1, 0.8))):
        for _ in range(2):
            born += both_bear(case.twin, ours, theirs)
            ours.tick += 1
            theirs.tick += 1
    assert born > 0 or sum(case.config.npc_counts) == 1


@pytest.mark.parametrize("settings", [{"content": Content(prices=(1,))}, {"npc_numbers": (0, 0, 0)}])
def test_worlds_without_npc_kinds_or_without_npcs(twin, settings):
    """The choices of agents are returned unchanged, and no NPC is born."""
    config = preset("full", slots=7, populations=7, **settings)
    world = empty_world(config, torch.full((3, 80, 80), 2, dtype=torch.uint8), 1)
    theirs = world.to(twin.device)
    got = both_choose(twin, world, theirs)
    assert all(torch.equal(a, b) for a, b in zip(orders(world, 1), got, strict=True))
    assert both_bear(twin, world, theirs) == 0
