"""The compiled observation of the full game against the rule in torch, to the last bit."""

from __future__ import annotations

import importlib

import pytest
import torch
from support.helpers import assert_same, litter, random_world
from support.observed import CONFIGS, PLAIN, look

from nmmo_gpu.world.backend import resolve

pytest.importorskip("numba")
observation = importlib.import_module("nmmo_gpu.cpu.observation")
CPU = torch.device("cpu")
TORCH, NUMBA = resolve("torch", CPU), resolve("numba", CPU)
NAMES = ("full", "short-sighted", "as-many-populations-as-can-be", "no-npcs", "small", "nothing-to-have")
"""Each is compiled by itself."""


def check(name, seeds):
    """Over different garbage, and with garbage in the slots of the dead; fails unless both see the same."""
    realms, config = CONFIGS[name]
    for seed in seeds:
        world = litter(random_world(config, realms + 2, seed, fill=(0.1, 0.8, 1.0)[seed], odds=PLAIN), seed)
        before = world.clone()
        _, whom, ours = look(TORCH, world)
        _, seen, theirs = look(NUMBA, world)
        assert torch.equal(ours, theirs) and torch.equal(whom, seen)
        assert_same(world, before, "observing changed the world")


@pytest.mark.parametrize("name", NAMES)
def test_records_and_rows_are_those_of_the_rule(name):
    check(name, range(3))


def test_row_by_row_as_on_a_large_map(monkeypatch):
    monkeypatch.setattr(observation, "ROW_BY_ROW_FROM", 1)
    observation._compiled.cache_clear()
    check("full", range(2))
    observation._compiled.cache_clear()


def test_threads_do_not_show():
    """More agents than a block, shared out among threads."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        realms, config = CONFIGS["full"]
        world = random_world(config, 40 * realms, 7, odds=PLAIN)
        _, seen, records = look(NUMBA, world)
        torch.set_num_threads(1)
        _, whom, alone = look(NUMBA, world)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(records, alone) and torch.equal(seen, whom)
