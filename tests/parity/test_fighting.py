"""Combat, loot and growth. ``tests/world`` tests their rules."""

from __future__ import annotations

import pytest
import torch
from support.fighting import EXPECTED, SETTINGS, hold
from support.helpers import GARBAGE, ODD, blank_maps, place, random_orders
from support.ticking import generator

from nmmo_gpu.config import preset
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.state import Cause

IN_BLOCKS = ("full", "flat, with skills", "lopsided content")
"""Settings in which kernels handle attackers, victims and killers in different programs. In the others, each
realm is one block."""


def test_combat_of_law_and_chaos(case):
    """``damage`` holds garbage, since combat must overwrite all of it."""
    killed = hurt = 0
    for seed, world in case.worlds():
        world.damage.fill_(GARBAGE)
        _, style, target = random_orders(world, generator(seed))
        after = case.twin.both("combat", world, style, target)
        hurt += int((after.damage > 0).sum())
        killed += int((after.cause == Cause.COMBAT).sum())
    assert (hurt > 0 and killed > 0) or case.config.slots == 7


def test_many_attacks_on_one_agent(twin, monkeypatch):
    """All 100 agents of four blocks attack one, and in the other realm two out of three do, with more than
    8,000 damage each time."""
    if not twin.compiled:
        monkeypatch.setattr("nmmo_gpu.kernels.launch.BLOCK", 32)
    config = preset(
        "chaos", **{**ODD, "border": 9, "vision": 9}, slots=100, populations=1, damage=(127, 126, 125),
        reach=(9, 9, 9), immune_ticks=0, births=0,
    )  # fmt: skip
    world = empty_world(config, blank_maps(config, 2), 1)
    for realm in range(2):
        for slot in range(100):
            place(world, realm, slot, 11 + slot // 10, 12 + slot % 10)
    target = torch.full((2, 100), 50)
    target[:, 50] = torch.tensor([49, 99])
    target[1, ::3] = -1
    style = torch.randint(3, (2, 100), generator=generator(2))
    after = twin.both("combat", world, style, target)
    assert (after.damage[:, 50] > 8000).all() and (after.food[:, 50] == 0).all()
    assert (after.cause == Cause.COMBAT).sum(1).tolist() == [2, 2]


@pytest.mark.parametrize("setting", SETTINGS)
def test_fights_of_the_full_game(twin, setting, monkeypatch):
    """Crowds of agents with little health, with random numbers in the slots of dead agents. Checks that all
    expected events happen."""
    if not twin.compiled and setting in IN_BLOCKS:
        monkeypatch.setattr("nmmo_gpu.kernels.launch.BLOCK", 32)
    seen = hold(twin.backend, setting, twin.few(6, 3), twin.device)
    rare = {"capped"} if setting in IN_BLOCKS else {"capped", "killed", "lost", "inherited"}
    assert {name for name in EXPECTED[setting] if not seen[name]} <= twin.few(set(), rare)
