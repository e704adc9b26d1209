"""Regrowth as a kernel over tiles; twin of ``nmmo_gpu.world.regrowth``."""

from __future__ import annotations

from collections import namedtuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.content import Material
from nmmo_gpu.kernels.launch import fields_of, launch, over_tiles
from nmmo_gpu.kernels.random import draw_word
from nmmo_gpu.world import regrowth as rule
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.regrowth_table import NEVER, threshold_tensor
from nmmo_gpu.world.state import World

_RegrowthFields = namedtuple("_RegrowthFields", "tick base material regrow_at")

STREAM = tl.constexpr(int(Stream.REGROW))
TICK_MASK = tl.constexpr(rule.TICK_MASK)
NO_TICK = tl.constexpr(NEVER)
SCRUB, FOREST, STONE = (tl.constexpr(int(m)) for m in (Material.SCRUB, Material.FOREST, Material.STONE))


@triton.jit
def _regrowth(world, tiles, MINED: tl.constexpr, BLOCK: tl.constexpr):
    """Order-free: each tile is read and written by one program.

    The material of a depleted tile is scrub, or stone if orerocks are ``MINED``. This holds for few tiles, so
    testing it first reads one byte per tile instead of four."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = i < tiles
    now = (tl.load(world.tick) & TICK_MASK).to(tl.int32)
    ground = tl.load(world.material + i, mask=here, other=FOREST)
    spent = ground == SCRUB
    if MINED:
        spent = spent | (ground == STONE)
    back = tl.load(world.regrow_at + i, mask=spent, other=NO_TICK) == now
    tl.store(world.material + i, tl.load(world.base + i, mask=back, other=0), mask=back)
    tl.store(world.regrow_at + i, tl.full([BLOCK], NO_TICK, tl.int32), mask=back)


@triton.jit
def return_tick(world, thresholds, realm, tile, eaten, ENTRIES: tl.constexpr, STEPS: tl.constexpr):
    """Returns [...] int32: tick at which tiles that are depleted now will regrow (see
    ``nmmo_gpu.world.regrowth.schedule``).

    The wait is one more than the number of thresholds at or below the drawn word, found by bisection."""
    word = draw_word(world, STREAM, realm, tile).to(tl.int64)
    low, high = tl.zeros_like(tile), tl.full(tile.shape, ENTRIES, tl.int32)
    for _ in tl.static_range(STEPS):
        middle = (low + high) // 2
        searching = eaten & (low < high)
        above = tl.load(thresholds + middle, mask=searching, other=0) <= word
        low = tl.where(searching & above, middle + 1, low)
        high = tl.where(searching & ~above, middle, high)
    return ((tl.load(world.tick) + low.to(tl.int64) + 1) & TICK_MASK).to(tl.int32)


def table(world: World, chance: float | None = None) -> tuple[Tensor, int, int]:
    """Returns (thresholds int64 on the device, their number, steps of a bisection) for a chance of regrowth
    per tick, by default that of forest; a placeholder if nothing regrows."""
    chance = world.config.regrowth if chance is None else chance
    if chance == 0.0:
        return world.workspace("no thresholds", (1,), torch.int64, fill=0), 0, 0
    thresholds = threshold_tensor(chance, world.device)
    return thresholds, thresholds.numel(), thresholds.numel().bit_length()


def regrowth(world: World) -> None:
    """See ``nmmo_gpu.world.regrowth.regrowth``."""
    tiles = world.material.numel()
    programs, block = over_tiles(tiles)
    launch(
        _regrowth, programs, fields_of(_RegrowthFields, world), tiles, MINED="mine" in world.config.works,
        BLOCK=block,
    )  # fmt: skip
