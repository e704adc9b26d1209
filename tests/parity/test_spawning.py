"""Births."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from support.helpers import place, random_world
from support.parity import CRAMPED, TORCH, by_block
from support.ticking import generator

from nmmo_gpu.config import preset


@pytest.mark.parametrize("limited", [True, False])
def test_random_worlds(any_case, limited):
    """Free slots hold garbage, and some rings are full. Births run twice in the same world, the second time
    with the workspaces of the first. Settings with an even and an odd number of slots differ in where agents
    are born."""
    twin, odd = any_case.twin, any_case.config.slots % 2
    births = (3, 1)[odd] if limited else -1
    spawn = "ring" if odd == limited else "anywhere"
    config = dataclasses.replace(any_case.config, births=births, spawn=spawn)
    born = 0
    for seed, world in any_case._replace(setting=any_case.setting._replace(config=config)).worlds():
        if seed == 1:
            continue
        theirs = world.to(twin.device)
        for _ in range(2):
            before = int(world.alive.sum())
            TORCH.spawning(world)
            twin.backend.spawning(theirs)
            twin.same(theirs, world, "spawning")
            born += int(world.alive.sum()) - before
            world.tick += 1
            theirs.tick += 1
    assert born > 0


def test_without_births_nobody_is_born(twin):
    """Though slots and tiles are free."""
    world = random_world(preset("chaos", **CRAMPED, slots=70, populations=5, births=0), 2, 0, fill=0.1)
    assert torch.equal(twin.both("spawning", world).alive, world.alive) and not world.alive.all()


@by_block(32)
def test_onto_the_last_free_tiles_of_the_ring(twin, block, monkeypatch):
    """All but three tiles of the ring are occupied, and 60 slots of two or three blocks draw a tile. In the
    third realm no tile is free."""
    if block:
        monkeypatch.setattr("nmmo_gpu.kernels.launch.BLOCK", block)
    config = preset("chaos", **{**CRAMPED, "border": 7}, slots=157, populations=1, births=-1)
    born, seeds = 0, twin.few(9, 3)
    for seed in range(seeds):
        world = random_world(config, 3, seed, fill=97 / 157, full=True)
        free = (~world.alive[2]).nonzero().squeeze(1)
        ring = [(7, col) for col in range(7, 40)] + [(25, col) for col in range(7, 40)]
        ring += [(row, col) for row in range(8, 25) for col in (7, 39)]
        for slot, (row, col) in zip(
            free.tolist(), [at for at in ring if not world.occupant[2][at]], strict=False
        ):
            place(world, 2, slot, row, col)
        before = world.alive.sum(1)
        after = twin.both("spawning", world)
        assert (after.alive[2] == world.alive[2]).all()
        assert int((after.occupant != 0).sum()) == int(after.alive.sum())
        born += int((after.alive.sum(1) - before).sum())
    assert seeds <= born <= 6 * seeds


@pytest.mark.parametrize("births", [-1, 40])
def test_anywhere_onto_the_last_free_tiles(twin, births, monkeypatch):
    """All but a few tiles are water or lava, and hundreds of slots draw a tile, so that many draw the
    same."""
    if not twin.compiled:
        monkeypatch.setattr("nmmo_gpu.kernels.launch.BLOCK", 64)
    slots = twin.few(600, 240)
    config = preset("chaos", **{**CRAMPED, "border": 7}, slots=slots, populations=6, births=births,
                    spawn="anywhere")  # fmt: skip
    born = 0
    for seed in range(twin.few(10, 3)):
        world = random_world(config, 3, seed, fill=0.05)
        keep = torch.rand(world.material.shape, generator=generator(seed)) < 0.03
        world.material[~keep & (world.occupant == 0)] = seed % 2  # lava, water
        after = twin.both("spawning", world)
        born += int(after.alive.sum() - world.alive.sum())
        assert int((after.occupant != 0).sum()) == int(after.alive.sum())
        assert (after.occupant >= 0).all()
    assert born > twin.few(20, 5)


@pytest.mark.parametrize("left", [0, 4])
def test_anywhere_in_a_nearly_full_world(twin, left, monkeypatch):
    """All 207 tiles are occupied, or all but four, and 33 slots or more draw a tile."""
    if not twin.compiled:
        monkeypatch.setattr("nmmo_gpu.kernels.launch.BLOCK", 64)
    config = preset("chaos", **CRAMPED, slots=240, populations=1, births=-1, spawn="anywhere")
    world = random_world(config, 1, 5, fill=1.0, odds=".,f")
    assert int(world.alive.sum()) == config.birthplaces == 207
    for slot in world.alive[0].nonzero().squeeze(1)[:left].tolist():
        row, col = int(world.row[0, slot]), int(world.col[0, slot])
        world.alive[0, slot], world.occupant[0, row, col], world.presence[0, row, col] = False, 0, 0
    born = 0
    for _ in range(6):
        after = twin.both("spawning", world)
        born += int(after.alive.sum() - world.alive.sum())
        world = after
        world.tick += 1
    assert born == 0 if left == 0 else 0 < born <= left
