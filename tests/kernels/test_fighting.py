"""The kernels of combat, loot and growth in any order of programs. ``tests/parity`` compares them with the
rules in torch."""

from __future__ import annotations

import pytest
from support.fighting import hold, worlds
from support.helpers import KERNEL_DEVICE

pytest.importorskip("triton")

from kernels.interpreter import conflicts, programs_in_order

from nmmo_gpu.kernels import launch as launching
from nmmo_gpu.kernels.launch import diverted
from nmmo_gpu.world.backend import resolve

TRITON = resolve("triton", KERNEL_DEVICE)
interpreted = pytest.mark.skipif(
    not launching.INTERPRETED, reason="compiled programs run in whatever order the GPU gives them"
)
ORDERS = {
    "backwards": lambda count: list(range(count))[::-1],
    "odd ones first": lambda count: list(range(1, count, 2)) + list(range(0, count, 2)),
}


@interpreted
@pytest.mark.parametrize("order", ORDERS)
def test_programs_may_run_in_any_order(monkeypatch, order):
    monkeypatch.setattr(launching, "BLOCK", 32)
    for setting in ("flat, with skills", "lopsided content"):
        with programs_in_order(ORDERS[order]) as launches:
            seen = hold(TRITON, setting, 1)
        assert seen["inherited"] > 0 and seen["npc_kills"] > 0
        assert len(launches) == 4 and min(launches) >= 4


@interpreted
def test_lanes_do_not_conflict(monkeypatch):
    """No kernel uses what atomic operations return either."""
    monkeypatch.setattr(launching, "BLOCK", 32)
    for setting in ("flat, with skills", "lopsided content"):
        with conflicts() as found:
            seen = hold(TRITON, setting, 1)
        assert seen["inherited"] > 0 and seen["npc_kills"] > 0
        assert found == {name: set() for name in ("_blows", "_bruises", "_loot", "_growth")}


def test_fights_do_not_synchronize():
    """On the meta device, reading a value or a data-dependent size raises an error."""
    world, style, target, _ = next(worlds("full", 1))
    launches = []
    nowhere = world.to("meta")
    with diverted(launches.append):
        TRITON.combat(nowhere, style.to("meta"), target.to("meta"))
        TRITON.loot(nowhere)
        TRITON.growth(nowhere)
    assert [launch.kernel.__name__ for launch in launches] == ["_blows", "_bruises", "_loot", "_growth"]
