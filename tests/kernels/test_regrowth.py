"""Regrowth ticks where a drawn word equals a threshold, which random worlds rarely reach."""

from __future__ import annotations

from collections import namedtuple

import pytest
import torch
from support.helpers import KERNEL_DEVICE

pytest.importorskip("triton")

import triton
import triton.language as tl

from nmmo_gpu.kernels.launch import launch
from nmmo_gpu.kernels.regrowth import return_tick
from nmmo_gpu.world.random import Stream, draw
from nmmo_gpu.world.regrowth import TICK_MASK

TILES = 300
_World = namedtuple("_World", "seed tick")


@triton.jit
def _return_ticks(
    world, thresholds, due, tiles, ENTRIES: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr
):
    tile = tl.arange(0, BLOCK)
    here = tile < tiles
    realm = tl.load(world.tick) * 0 + 2
    when = return_tick(world, thresholds, realm, tile, here, ENTRIES, STEPS)
    tl.store(due + tile, when, mask=here)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 7, 8, 255, 256, 300])
@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_a_word_at_a_threshold_waits_as_one_above_it(length, shift):
    """Tables of the words that will be drawn, or of their neighbors, with lengths at which a binary search
    could be one step short."""
    seed, tick = torch.tensor([5, 0]), torch.tensor([(3 << 32) - 2])
    tile = torch.arange(TILES)
    word = draw(seed, tick, Stream.REGROW, torch.tensor([2]), tile)[0]
    thresholds = (word[:length] + shift).sort()[0]
    wait = torch.searchsorted(thresholds, word, right=True) + 1
    due = torch.full((TILES + 5,), -7, dtype=torch.int32, device=KERNEL_DEVICE)
    world, there = _World(seed.to(KERNEL_DEVICE), tick.to(KERNEL_DEVICE)), thresholds.to(KERNEL_DEVICE)
    steps = length.bit_length()  # as in nmmo_gpu.kernels.regrowth.table
    launch(_return_ticks, 1, world, there, due, TILES, ENTRIES=length, STEPS=steps, BLOCK=512)
    assert torch.equal(due[:TILES].cpu().long(), (tick + wait) & TICK_MASK)
    assert due[TILES:].tolist() == [-7] * 5
    assert {1, length + 1} & set(wait.tolist()) and len(wait.unique()) > min(length, 2)
