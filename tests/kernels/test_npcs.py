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
    """(move, style, target) of agents; target is as wide as a slot may need."""
    random = torch.Generator().manual_seed(seed)
    shape = world.realms, world.config.slots
    move, style = torch.randint(3, (2, *shape), generator=random).to(kind)
    target = torch.randint(-1, world.config.entities, shape, generator=random)
    return move, style, target.int() if kind == torch.uint8 else target


def both_choose(world, kind=torch.int64):
    """What torch chooses; fails unless Triton chooses the same, and leaves the same world."""
    chosen = orders(world, 1, kind)
    theirs = world.to(KERNEL_DEVICE)
    got = TRITON.npcs(theirs, *(part.to(KERNEL_DEVICE) for part in chosen))
    expected = TORCH.npcs(world, *chosen)
    assert all(torch.equal(a, b.long().cpu()) for a, b in zip(expected, got, strict=True))
    assert_same(theirs.to(CPU), world, "triton, then torch")
    return expected


def both_bear(world):
    """How many are born by torch; fails unless it is the same by Triton."""
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
def test_no_two_lanes_meet_in_a_byte_that_one_of_them_writes(monkeypatch):
    """But where newborn take their tiles, and losers find that these are not their own either way. What
    atomic operations return is not used."""
    monkeypatch.setattr(launching, "BLOCK", 32)
    realms, config = CONFIGS["crowd"]
    world = restless_world(config, realms, 3, 0.6)
    with conflicts() as found:
        both_choose(world)
        assert both_bear(world) > 10
    assert set(found) == {"_npcs", "_claim_homes", "_count_newborn", "_settle_npcs"}
    assert {name: where for name, where in found.items() if where} == {"_settle_npcs": {"occupant"}}
