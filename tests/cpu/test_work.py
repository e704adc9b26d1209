"""The masks and recipes of compiled work. ``tests/parity`` compares work with the rule in torch."""

from __future__ import annotations

import importlib
from functools import cache

import numpy as np
import pytest
from support.goods import MORE, busy_world
from support.helpers import ODD

from nmmo_gpu.content import STANDARD, WORKS, Content
from nmmo_gpu.world.inventory import room
from nmmo_gpu.world.work import possible_works

pytest.importorskip("numba")
twin = importlib.import_module("nmmo_gpu.cpu.work")
compiled_room = importlib.import_module("nmmo_gpu.cpu.inventory").room

SETTINGS = {
    "full": {},
    "three realms of seven, without NPCs": {**ODD, "slots": 7, "npcs": False},
    "no skills": {"skills": False, "max_health": 30, "ore_regrowth": 0.0},
    "more content": {"content": MORE, "ore_regrowth": 1.0},
    "a few works": {"works": ("eat", "mine", "sword"), "capacity": 9},
    "no works": {"works": ()},
    "nothing to make": {"content": Content(items=STANDARD.items[:4], prices=(1,)), "npcs": False},
}
SEEDS = range(3)


@cache
def worlds(setting):
    """Returns one world of the setting per seed, with garbage in the slots of dead agents, and some
    killed."""
    return [busy_world(3, seed, **SETTINGS[setting]) for seed in SEEDS]


def many_worlds(setting):
    """Returns (world, seed) pairs; the worlds may be modified."""
    return [(world.clone(), seed) for seed, world in enumerate(worlds(setting))]


@pytest.mark.parametrize("setting", SETTINGS)
def test_possible_works_are_the_same(setting):
    """Compares the masks of each living agent."""
    for world, seed in many_worlds(setting):
        cfg = world.config
        there = possible_works(world)
        space = room(world)
        recipes, _, meals, weights = twin.book(cfg.content)
        fields = [t.numpy() for t in (world.inventory, world.offer, world.level, world.shore, world.material)]
        inventory, offer, level, shore, material = fields
        for r, a in world.agents(world.alive).nonzero().tolist():
            own = compiled_room(inventory, offer, weights, cfg.capacity, r, a)
            assert own == int(space[r, a])
            possible = twin.possible_works(
                twin.works_there(cfg.works), recipes, meals, inventory, level, own, shore, material,
                r, a, int(world.row[r, a]), int(world.col[r, a]),
            )  # fmt: skip
            bits = [bool(possible >> choice & 1) for choice in range(len(WORKS))]
            assert bits == there[r, a].tolist(), (setting, seed, r, a)


def test_the_book_lists_recipes_by_work():
    """Hand-checked rows: the start of each work, the tin sword, and the first recipe."""
    recipes, starts, meals, weights = twin.book(STANDARD)
    assert starts.tolist() == [0, 0, 3, 6, 11, 14, 17, 20, 20]
    tin_sword = recipes[starts[4] + 1]
    assert tin_sword.tolist() == [5, 8, 80, 14, 1, 1, 2, 0, 4]
    assert recipes[0].tolist() == [1, 5, 10, 3, 1, -1, 0, 1, 1]
    assert meals.tolist() == [[8, 2, 10], [9, 3, 10], [11, 3, 10], [10, 5, 10], [12, 5, 10]]
    assert np.flatnonzero(weights == 0).tolist() == [16, 17, 18]
