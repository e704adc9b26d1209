"""Sorting slots by population, those of living agents first, in two kernels; twin of
``nmmo_gpu.train.rollout.living_first``.

A slot's column is its rank among the population's slots of its kind. The first kernel counts the living in
each block of slots. The second adds up the counts of the blocks before its own, and scans its block."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.kernels.launch import launch

BLOCK = 1024
"""Slots per program, if there are at most ``BLOCKS`` blocks."""

BLOCKS = 1024
"""Maximum number of blocks of a population; larger populations have larger blocks."""


@triton.jit
def _slots_of(alive, slots, stride, size, number, blocks, BLOCK: tl.constexpr):
    """Returns the slots of this program: (population, block, place among the population's slots, index into
    [R * A], whether it exists, whether a living agent is in it)."""
    population, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    place = block * BLOCK + tl.arange(0, BLOCK)
    here = place < number
    realm, slot = (place // size).to(tl.int64), population * size + place % size
    living = here & (tl.load(alive + realm * stride + slot, mask=here, other=0) != 0)
    return population, block, place, realm * slots + slot, here, living


@triton.jit
def _count_living(alive, counts, slots, stride, size, number, blocks, BLOCK: tl.constexpr):
    """Counts the living agents of each block. Order-free: one entry per program."""
    _, _, _, _, _, living = _slots_of(alive, slots, stride, size, number, blocks, BLOCK)
    tl.store(counts + tl.program_id(0), tl.sum(living.to(tl.int32), 0))


@triton.jit
def _living_first(
    alive, counts, index, slots, stride, size, number, blocks, columns, ALL: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Writes each slot to its column. Order-free: columns of different slots differ."""
    mine = _slots_of(alive, slots, stride, size, number, blocks, BLOCK)
    population, block, place, row, here, living = mine
    other = tl.arange(0, ALL)
    count = tl.load(counts + population * blocks + other, mask=other < blocks, other=0)
    rank = tl.sum(tl.where(other < block, count, 0), 0) + tl.cumsum(living.to(tl.int32), 0)
    column = tl.where(living, rank - 1, tl.sum(count, 0) + place - rank)
    into = index + population.to(tl.int64) * columns + column
    tl.store(into, row, mask=here & (column < columns))


def living_first(alive: Tensor, populations: int, columns: int) -> Tensor:
    """See ``nmmo_gpu.train.rollout.living_first``; the rows of ``alive`` may have a stride."""
    realms, slots = alive.shape
    size = slots // populations
    number = realms * size
    block = max(BLOCK, triton.next_power_of_2(triton.cdiv(number, BLOCKS)))
    blocks = triton.cdiv(number, block)
    counts = torch.empty(populations * blocks, dtype=torch.int32, device=alive.device)
    index = torch.empty(populations, columns, dtype=torch.int64, device=alive.device)
    sizes = slots, alive.stride(0), size, number, blocks
    launch(_count_living, populations * blocks, alive, counts, *sizes, BLOCK=block)
    launch(
        _living_first, populations * blocks, alive, counts, index, *sizes, columns,
        ALL=triton.next_power_of_2(blocks), BLOCK=block,
    )  # fmt: skip
    return index
