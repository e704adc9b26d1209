"""Observations."""

from __future__ import annotations

import pytest
import torch
from support.helpers import GARBAGE, assert_same, litter, random_world
from support.observed import CONFIGS, PLAIN
from support.parity import CRAMPED, SETTINGS, TORCH, Twin, crossed, of_loops
from support.ticking import CPU, generator

from nmmo_gpu.config import preset
from nmmo_gpu.world.observation_layout import ObservationLayout

COMPILED = ("full", "as-many-populations-as-can-be", "no-npcs", "small", "nothing-to-have")
"""Settings for compiled loops, which are compiled for each setting in seconds."""


def observed(backend, world, fill):
    """Returns (records, seen) on the CPU, written over garbage."""
    shape = (world.realms, world.config.slots)
    records = ObservationLayout(world.config).allocate(*shape, device=world.device).fill_(fill)
    seen = torch.full((*shape, world.config.nearest), fill * 99, dtype=torch.int32, device=world.device)
    backend.observe(world, records, seen)
    return records.cpu(), seen.cpu()


def assert_both_see_the_same(twin, world):
    """Both write over different garbage, so that bytes that are not written differ."""
    there = world.to(twin.device)
    (ours, whom), (theirs, seen) = observed(TORCH, world, GARBAGE), observed(twin.backend, there, 0x54)
    assert torch.equal(seen, whom), "seen"
    if not torch.equal(theirs, ours):
        realm, slot, byte = (theirs != ours).nonzero()[0].tolist()
        fields = ObservationLayout(world.config).fields.items()
        name, field = [(name, field) for name, field in fields if field.offset <= byte][-1]
        raise AssertionError(f"{name}[{realm}, {slot}], byte {byte - field.offset}: {twin.name}, then torch")
    assert_same(there.to(CPU), world, "observing changed the world")


@pytest.fixture
def row_by_row(monkeypatch):
    """Makes compiled loops observe row by row even on a small map."""
    observation = pytest.importorskip("nmmo_gpu.cpu.observation")
    monkeypatch.setattr(observation, "ROW_BY_ROW_FROM", 1)
    yield


def check_law_and_chaos(case):
    """With damage beyond 8 bits and ages beyond 16 bits with sign."""
    for seed, world in case.worlds():
        world.damage.copy_(torch.randint(30000, world.alive.shape, generator=generator(seed)))
        world.age[:, ::3] = 40000
        assert_both_see_the_same(case.twin, world)


def test_law_and_chaos(case):
    check_law_and_chaos(case)


@pytest.mark.parametrize("case", crossed(of_loops(SETTINGS)), indirect=True)
def test_law_and_chaos_row_by_row(case, row_by_row):
    """Compiled loops observe large maps row by row."""
    check_law_and_chaos(case)


@pytest.mark.parametrize(
    ("vision", "nearest", "lanes"),
    [(1, 8, 64), (3, 5, 256), (4, 80, 1024), (5, 20, None), (15, 9, 8192), (15, 130, None)],
)
def test_windows_and_tables_of_any_size(twin, vision, nearest, lanes, monkeypatch):
    """Windows narrower than the eight tiles of a word and wider than three words, with fewer cells than the
    table has rows and with as many; kernels down to one agent per program."""
    if lanes and not twin.compiled:
        monkeypatch.setattr("nmmo_gpu.kernels.launch.LANES", lanes)
    config = preset(
        "chaos", **{**CRAMPED, "border": max(vision, 12), "vision": vision}, populations=3, births=0,
        slots=15 if lanes == 64 else 51, reach=(1, 1, vision), nearest=nearest,
    )  # fmt: skip
    for seed in range(twin.few(3, 1)):
        world = random_world(config, twin.few(3, 1), vision + seed, fill=0.9, full=(vision + seed) > 4)
        assert_both_see_the_same(twin, litter(world, seed + 1))


@pytest.mark.parametrize(
    ("twin", "name"),
    [*(("numba", name) for name in COMPILED), *(("triton", name) for name in CONFIGS)],
    indirect=["twin"],
)
def test_the_full_game(twin, name):
    """With garbage in the slots of dead agents."""
    realms, config = CONFIGS[name]
    for seed, fill in twin.few(((0, 0.1), (1, 0.8), (2, 1.0)), ((3, 0.8),)):
        world = random_world(config, realms + twin.few(2, 0), seed, fill=fill, odds=PLAIN)
        assert_both_see_the_same(twin, litter(world, seed))


@pytest.mark.parametrize(("lanes", "block"), [(1024, 32), (4096, 64)])
@pytest.mark.parametrize("name", ["full", "small"])
def test_the_full_game_with_other_block_sizes(name, lanes, block, monkeypatch):
    twin = Twin("triton")
    monkeypatch.setattr("nmmo_gpu.kernels.launch.LANES", lanes)
    monkeypatch.setattr("nmmo_gpu.kernels.launch.BLOCK", block)
    world = random_world(CONFIGS[name][1], 3, 5, fill=0.9, odds=PLAIN)
    assert_both_see_the_same(twin, litter(world, 5))


def test_the_full_game_row_by_row(row_by_row):
    twin = Twin("numba")
    realms, config = CONFIGS["small"]
    for seed in range(2):
        world = random_world(config, realms + 2, seed, fill=(0.1, 0.8)[seed], odds=PLAIN)
        assert_both_see_the_same(twin, litter(world, seed))
