"""Kernels of NPCs in any order of programs. ``tests/parity`` compares them with the rules in torch."""

from __future__ import annotations

import pytest
import torch
from support.helpers import KERNEL_DEVICE, assert_same, unclean
from support.npc_worlds import CONFIGS, restless_world

pytest.importorskip("triton")

from kernels.interpreter import conflicts, programs_in_order

from nmmo_gpu.kernels import launch as launching
from nmmo_gpu.kernels.npcs import kinds
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.npcs import kind_of_slot

CPU = torch.device("cpu")
TORCH, TRITON = resolve("torch", CPU), resolve("triton", KERNEL_DEVICE)
interpreted = pytest.mark.skipif(not launching.INTERPRETED, reason="the GPU orders its programs itself")


def orders(world, seed, kind=torch.int64):
    """Returns random (move, style, target) of agents; the dtype of ``target`` is wide enough for any slot."""
    random = torch.Generator().manual_seed(seed)
    shape = world.realms, world.config.slots
    move, style = torch.randint(3, (2, *shape), generator=random).to(kind)
    target = torch.randint(-1, world.config.entities, shape, generator=random)
    return move, style, target.int() if kind == torch.uint8 else target


def both_choose(world, kind=torch.int64):
    """Returns the choices of torch; checks that Triton makes the same choices and changes the world in the
    same way."""
    chosen = orders(world, 1, kind)
    theirs = world.to(KERNEL_DEVICE)
    got = TRITON.npcs(theirs, *(part.to(KERNEL_DEVICE) for part in chosen))
    expected = TORCH.npcs(world, *chosen)
    assert all(torch.equal(a, b.long().cpu()) for a, b in zip(expected, got, strict=True))
    assert_same(theirs.to(CPU), world, "triton, then torch")
    return expected


def both_bear(world):
    """Runs NPC births by torch and by Triton, and checks that the results are equal. Returns the number of
    births."""
    before, theirs = int(world.alive.sum()), world.to(KERNEL_DEVICE)
    TORCH.npc_births(world)
    TRITON.npc_births(theirs)
    assert_same(theirs.to(CPU), world, "triton, then torch")
    assert unclean(theirs) == []
    return int(world.alive.sum()) - before


def test_kinds_of_slots():
    world = restless_world(CONFIGS["crowd"][1], 1, 1)
    assert torch.equal(kinds(world).long(), kind_of_slot(world.config, CPU))


@interpreted
@pytest.mark.parametrize("order", ["backwards", "odd ones first"])
def test_programs_may_run_in_any_order(order, monkeypatch):
    monkeypatch.setattr(launching, "BLOCK", 32)
    realms, config = CONFIGS["crowd"]
    world = restless_world(config, realms, 3, 0.6)
    turned = {
        "backwards": lambda count: list(range(count))[::-1],
        "odd ones first": lambda count: list(range(1, count, 2)) + list(range(0, count, 2)),
    }
    with programs_in_order(turned[order]) as launches:
        both_choose(world)
        assert both_bear(world) > 10
    assert launches == [10, 6, 6, 6]


@interpreted
def test_lanes_do_not_conflict(monkeypatch):
    """Except where newborns claim tiles, since a loser finds that the tile is not its own in either order. No
    kernel uses what atomic operations return."""
    monkeypatch.setattr(launching, "BLOCK", 32)
    realms, config = CONFIGS["crowd"]
    world = restless_world(config, realms, 3, 0.6)
    with conflicts() as found:
        both_choose(world)
        assert both_bear(world) > 10
    assert set(found) == {"_npcs", "_claim_homes", "_count_newborn", "_settle_npcs"}
    assert {name: where for name, where in found.items() if where} == {"_settle_npcs": {"occupant"}}
