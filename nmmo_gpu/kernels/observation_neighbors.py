"""Search for the nearest entities of each agent, one thread per agent.

Which cells of its window have an occupant is a set of bits, in words of 32. The cells at one distance are a
subset of the window, so that bits are counted, and found, by distance, and in row-major order within it."""

from __future__ import annotations

from collections import namedtuple
from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.kernels.bits import count_bits, index_of_bit
from nmmo_gpu.kernels.launch import launch, over_slots
from nmmo_gpu.kernels.observation_windows import LANE_BITS
from nmmo_gpu.kernels.slots import my_agents
from nmmo_gpu.world.state import World

_Cells = namedtuple("_Cells", "words pitch row_bits groups")
"""32-bit words that hold a window's cells as bits, words from one agent to the next, bits from one row to the
next, and words of four cells that are found."""

GROUP = tl.constexpr(4)
"""Cells that are written at a time."""
WORD = 32


@triton.jit
def cells_of(near, agent, living, WORDS: tl.constexpr, PITCH: tl.constexpr):
    """Returns a tuple of WORDS uint32 [BLOCK]: the bits of ``near``, [agents, PITCH] int32, of agents
    [BLOCK]; zeros if not ``living``."""
    cells = ()
    for k in tl.static_range(WORDS):
        words = tl.load(near + agent * PITCH + k, mask=living, other=0)
        cells = cells + (words.to(tl.uint32, bitcast=True),)  # type: ignore[assignment]
    return cells


@triton.jit
def count_within(cells, rings, VISION: tl.constexpr, WORDS: tl.constexpr, ROW_BITS: tl.constexpr):
    """Returns a tuple of VISION + 1 uint32 [BLOCK]: number of entities up to distance 0, 1, ..., without the
    agent itself.

    Args:
        cells: as returned by ``cells_of``.
        rings: pointer to ``ring_cells``.
    """
    total = tl.zeros_like(cells[0])
    counts = (total,)
    for distance in tl.static_range(1, VISION + 1):
        for k in tl.static_range(WORDS):
            # The other words have no cell at this distance.
            if (k + 1) * 32 > (VISION - distance) * ROW_BITS and k * 32 < (VISION + distance + 1) * ROW_BITS:
                ring = tl.load(rings + distance * WORDS + k).to(tl.uint32, bitcast=True)
                total += count_bits(cells[k] & ring)
        counts = counts + (total,)  # type: ignore[assignment]
    return counts


@triton.jit
def cell_of_rank(cells, counts, rings, rank, VISION: tl.constexpr, WORDS: tl.constexpr):
    """Returns [BLOCK] int32: the cell of the entity with ``rank`` (0 for the nearest), as the index of its
    bit; -1 if there are not as many.

    Args:
        cells: as returned by ``cells_of``.
        counts: as returned by ``count_within``.
        rings: pointer to ``ring_cells``.
        rank: int32 scalar.
    """
    rank = tl.full(counts[0].shape, rank, tl.int32).to(tl.uint32)
    nearer, distance = counts[0], tl.full(counts[0].shape, 1, tl.int32)
    for k in tl.static_range(1, VISION + 1):
        beyond = counts[k] <= rank
        nearer = tl.where(beyond, counts[k], nearer)
        distance += beyond.to(tl.int32)
    # Among the cells at this distance: the last word with at most as many of them before it.
    rank = rank - nearer
    ring = rings + distance * WORDS
    total = tl.zeros_like(rank)
    word, before, index = total, total, total
    for k in tl.static_range(WORDS):
        part = cells[k] & tl.load(ring + k).to(tl.uint32, bitcast=True)
        beyond = total <= rank
        word, before = tl.where(beyond, part, word), tl.where(beyond, total, before)
        index = tl.where(beyond, 32 * k, index)
        total += count_bits(part)
    cell = (index + index_of_bit(word, rank - before)).to(tl.int32)
    return tl.where(distance <= VISION, cell, -1)


@triton.jit
def _nearest(
    alive, near, rings, found, slots, chunks, NPCS: tl.constexpr, VISION: tl.constexpr, window: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes the cells of the nearest entities of each agent, four int16 to a word; -1 for none.

    Order-free: an agent's row is written by one thread."""
    _, _, agent, being, inside = my_agents(slots, chunks, NPCS, BLOCK)
    living = inside & (tl.load(alive + being, mask=inside, other=0) != 0)
    cells = cells_of(near, agent, living, window.words, window.pitch)
    counts = count_within(cells, rings, VISION, window.words, window.row_bits)
    for group in range(window.groups):
        packed = tl.zeros([BLOCK], tl.int64)
        for k in range(GROUP):  # unrolled, the kernel would take many times as long to compile
            cell = cell_of_rank(cells, counts, rings, group * GROUP + k, VISION, window.words)
            packed |= (cell & 0xFFFF).to(tl.int64) << (16 * k)
        tl.store(found + agent * window.groups + group, packed, mask=inside)


def find_nearest(world: World, near: Tensor) -> Tensor:
    """Finds the nearest entities of all agents.

    Args:
        world: the world; ``alive`` is read.
        near: as returned by ``nmmo_gpu.kernels.observation_windows.write_windows``.

    Returns:
        [R, A, n] int16, a workspace: the cells of the nearest entities in ring order, as ``row_bits(vision) *
        row + column`` in the window; -1 for none. ``n`` is ``nearest``, rounded up to a multiple of 4.
    """
    cfg = world.config
    groups = triton.cdiv(cfg.nearest, GROUP.value)
    found = world.workspace("nearest", (world.realms, cfg.slots, groups), torch.int64)
    cut = over_slots(world.realms, cfg.slots)
    window = _Cells(words_of(cfg.vision), near.shape[-1] // 2, row_bits(cfg.vision), groups)
    launch(
        _nearest, cut.programs, world.alive, near.view(torch.int32), ring_cells(cfg.vision, world.device),
        found, cut.slots, cut.chunks, NPCS=cfg.npc_slots, VISION=cfg.vision, window=window, BLOCK=cut.block,
        warps=cut.warps,
    )  # fmt: skip
    return found.view(torch.int16)


@cache
def ring_cells(vision: int, device: torch.device) -> Tensor:
    """Returns [vision + 2, words] int32: the cells of a window at each distance from its center, a bit each;
    no cell for distance vision + 1. Rows of the window are ``row_bits`` apart."""
    between, words = row_bits(vision), words_of(vision)
    rings = [0] * (vision + 2)
    for row in range(-vision, vision + 1):
        for column in range(-vision, vision + 1):
            rings[max(abs(row), abs(column))] |= 1 << ((row + vision) * between + column + vision)
    parts = [[ring >> (WORD * k) & 0xFFFFFFFF for k in range(words)] for ring in rings]
    return torch.tensor(parts, dtype=torch.int64, device="cpu").to(torch.int32).to(device)


def row_bits(vision: int) -> int:
    """Returns the number of bits from one row of a window to the next."""
    return LANE_BITS if 2 * vision + 1 <= LANE_BITS else 2 * LANE_BITS


def words_of(vision: int) -> int:
    """Returns the number of 32-bit words that hold a window's cells."""
    return -(-(2 * vision + 1) * row_bits(vision) // WORD)
