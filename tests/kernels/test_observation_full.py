"""The kernels of the full game's observation against the rule in torch, to the last bit, and cut into blocks
in every way."""

from __future__ import annotations

import pytest
import torch
from support.helpers import KERNEL_DEVICE, assert_same, litter, random_world
from support.observed import CONFIGS, PLAIN

pytest.importorskip("triton")

from kernels.interpreter import conflicts

from nmmo_gpu.kernels import launch as launching
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.layout import ObservationLayout

CPU = torch.device("cpu")
TORCH, TRITON = resolve("torch", CPU), resolve("triton", KERNEL_DEVICE)


def observed(backend, world, fill):
    """(records, seen) on the CPU, written over garbage."""
    shape = (world.realms, world.config.slots)
    records = ObservationLayout(world.config).allocate(*shape, device=world.device).fill_(fill)
    seen = torch.full((*shape, world.config.nearest), fill * 99, dtype=torch.int32, device=world.device)
    backend.observe(world, records, seen)
    return records.cpu(), seen.cpu()


def check(config, realms, seed, fill):
    """Over different garbage, and with garbage in the slots of the dead; fails unless both see the same."""
    world = litter(random_world(config, realms, seed, fill=fill, odds=PLAIN), seed)
    there = world.to(KERNEL_DEVICE)
    (ours, whom), (theirs, seen) = observed(TORCH, world, 0xAB), observed(TRITON, there, 0x54)
    assert torch.equal(seen, whom), "seen"
    if not torch.equal(theirs, ours):
        realm, slot, byte = (theirs != ours).nonzero()[0].tolist()
        fields = ObservationLayout(config).fields.items()
        name, field = [(name, field) for name, field in fields if field.offset <= byte][-1]
        raise AssertionError(f"{name}[{realm}, {slot}], byte {byte - field.offset}: triton, then torch")
    assert_same(there.to(CPU), world, "observing changed the world")


@pytest.mark.parametrize("name", CONFIGS)
def test_records_and_rows_are_those_of_the_rule(name):
    realms, config = CONFIGS[name]
    check(config, realms, 3, 0.8)


@pytest.mark.parametrize(("lanes", "block"), [(1024, 32), (4096, 64)])
@pytest.mark.parametrize("name", ["full", "small"])
def test_however_agents_are_cut_into_blocks(monkeypatch, name, lanes, block):
    monkeypatch.setattr(launching, "LANES", lanes)
    monkeypatch.setattr(launching, "BLOCK", block)
    check(CONFIGS[name][1], 3, 5, 0.9)


@pytest.mark.skipif(not launching.INTERPRETED, reason="compiled programs cannot be watched")
def test_no_place_is_written_by_two_lanes_or_written_and_read(monkeypatch):
    monkeypatch.setattr(launching, "LANES", 4096)
    monkeypatch.setattr(launching, "BLOCK", 32)
    world = random_world(CONFIGS["full"][1], 2, 6, odds=PLAIN)
    with conflicts() as found:
        observed(TRITON, world, 1)
    assert found == {
        name: set() for name in ("_public_stats", "_looks", "_windows", "_record_fields", "_goods")
    }
