"""Sorting slots by population, those of living agents first, by the kernels, compared with torch."""

from __future__ import annotations

import pytest
import torch
from support.helpers import KERNEL_DEVICE

pytest.importorskip("triton")

from kernels.interpreter import conflicts, programs_in_order

from nmmo_gpu.kernels import launch as launching
from nmmo_gpu.kernels.train import living as kernels
from nmmo_gpu.train.rollout import living_first

SIZES = {
    "one slot": (1, 1, 1, 0),
    "less than a block": (3, 5, 2, 0),
    "several blocks, the last partly filled": (7, 33, 3, 9),
    "full blocks": (8, 16, 2, 5),
}
"""(realms, slots of a population, populations, slots of NPCs)."""


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Makes blocks of 16 slots, or of 64 if there would be more than 8."""
    monkeypatch.setattr(kernels, "BLOCK", 16)
    monkeypatch.setattr(kernels, "BLOCKS", 8)


def random_alive(realms, slots, npcs, share, seed):
    """Returns [R, A] bool of a world whose NPC slots, which follow each realm's agents, are all alive."""
    random = torch.Generator().manual_seed(seed)
    entities = torch.ones(realms, slots + npcs, dtype=torch.bool)
    entities[:, :slots] = torch.rand(realms, slots, generator=random) < share
    return entities[:, :slots]


@pytest.mark.parametrize("kind", SIZES)
def test_the_columns_of_torch(kind):
    """With none, some and all slots empty, and in all, some and few columns. Memory next to the result is not
    written."""
    realms, size, populations, npcs = SIZES[kind]
    for seed, share in enumerate((0.0, 0.3, 0.7, 1.0)):
        alive = random_alive(realms, populations * size, npcs, share, seed)
        for columns in sorted({realms * size, max(1, realms * size // 3), 1}):
            there = alive.to(KERNEL_DEVICE)
            found = kernels.living_first(there, populations, columns).cpu()
            assert found.dtype == torch.int64
            assert torch.equal(found, living_first(alive, populations, columns)), (share, columns)


@pytest.mark.skipif(not launching.INTERPRETED, reason="the GPU runs programs in whatever order it likes")
def test_no_program_depends_on_another():
    """Programs run backwards give the same columns, and no two write to one place."""
    alive = random_alive(7, 99, 9, 0.5, 5)
    expected = living_first(alive, 3, 100)
    with programs_in_order(lambda count: list(range(count))[::-1]) as launches, conflicts() as found:
        assert torch.equal(kernels.living_first(alive, 3, 100), expected)
    assert min(launches) > 3 and found == {"_count_living": set(), "_living_first": set()}
