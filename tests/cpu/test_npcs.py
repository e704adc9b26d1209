"""NPCs as compiled loops against the rules in torch, to the last bit."""

from __future__ import annotations

import pytest
import torch
from support.helpers import assert_same, unclean
from support.npc_worlds import CONFIGS, restless_world

from nmmo_gpu.config import preset
from nmmo_gpu.content import Content
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.reset import empty_world

pytest.importorskip("numba")
CPU = torch.device("cpu")
TORCH, NUMBA = resolve("torch", CPU), resolve("numba", CPU)
FILLS = (0.02, 0.3, 0.6, 0.9, 1.0)


def worlds(setting):
    """Random worlds, from nearly empty to full."""
    realms, config = CONFIGS[setting]
    for seed, fill in enumerate(FILLS):
        yield seed, restless_world(config, realms, seed, fill)


def orders(world, seed):
    """(move, style, target) of agents, as columns of one tensor."""
    random = torch.Generator().manual_seed(seed)
    shape = world.realms, world.config.slots
    actions = torch.randint(3, (*shape, 3), generator=random)
    actions[..., 2] = torch.randint(-1, world.config.entities, shape, generator=random)
    return actions.unbind(-1)


@pytest.mark.parametrize("setting", CONFIGS)
def test_choices(setting):
    """Several times over in one world, so that tempers run out and rooms are used again."""
    moves = attacks = 0
    for seed, ours in worlds(setting):
        theirs = ours.clone()
        for _ in range(3):
            chosen = orders(ours, seed)
            expected, got = TORCH.npcs(ours, *chosen), NUMBA.npcs(theirs, *chosen)
            assert all(torch.equal(a, b.long()) for a, b in zip(expected, got, strict=True))
            assert_same(theirs, ours, "numba, then torch")
            agents = ours.config.slots
            moves += int((expected[0][:, agents:] > 0).sum())
            attacks += int((expected[2][:, agents:] >= 0).sum())
            ours.tick += 1
            theirs.tick += 1
    assert moves > 0 and (attacks > 0 or setting == "one goblin")


@pytest.mark.parametrize("setting", CONFIGS)
def test_births(setting):
    born = 0
    for _, ours in worlds(setting):
        theirs = ours.clone()
        for _ in range(3):
            before = int(ours.alive.sum())
            TORCH.npc_births(ours)
            NUMBA.npc_births(theirs)
            assert_same(theirs, ours, "numba, then torch")
            assert unclean(theirs) == []
            born += int(ours.alive.sum()) - before
            ours.tick += 1
            theirs.tick += 1
    assert born > 0 or setting == "one goblin"


@pytest.mark.parametrize("settings", [{"content": Content(prices=(1,))}, {"npc_numbers": (0, 0, 0)}])
def test_a_world_without_kinds_or_without_npcs(backend, settings):
    """The choices of agents come back as they are, and nobody is born."""
    config = preset("full", slots=7, populations=7, **settings)
    world = empty_world(config, torch.full((3, 80, 80), 2, dtype=torch.uint8), 1)
    before = world.clone()
    chosen = orders(world, 1)
    got = backend.npcs(world, *chosen)
    backend.npc_births(world)
    assert all(torch.equal(a, b.long()) for a, b in zip(chosen, got, strict=True))
    assert_same(world, before)
