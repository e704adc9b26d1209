"""The kernels of the full game's observation in any order. ``tests/parity`` compares them with the rule in
torch."""

from __future__ import annotations

import pytest
import torch
from support.helpers import KERNEL_DEVICE, random_world
from support.observed import CONFIGS, PLAIN

pytest.importorskip("triton")

from kernels.interpreter import conflicts

from nmmo_gpu.kernels import launch as launching
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.observation_layout import ObservationLayout

CPU = torch.device("cpu")
TRITON = resolve("triton", KERNEL_DEVICE)


@pytest.mark.skipif(not launching.INTERPRETED, reason="compiled programs cannot be watched")
def test_lanes_do_not_conflict(monkeypatch):
    monkeypatch.setattr(launching, "LANES", 4096)
    monkeypatch.setattr(launching, "BLOCK", 32)
    world = random_world(CONFIGS["full"][1], 2, 6, odds=PLAIN)
    shape = (world.realms, world.config.slots)
    records = ObservationLayout(world.config).allocate(*shape, device=CPU)
    seen = torch.zeros(*shape, world.config.nearest, dtype=torch.int32)
    with conflicts() as found:
        TRITON.observe(world, records, seen)
    names = ("_public_stats", "_looks", "_windows", "_nearest", "_record_fields", "_prospects", "_goods")
    assert found == {name: set() for name in names}
