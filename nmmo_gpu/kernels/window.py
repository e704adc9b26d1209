"""The policy's first layer on tensor cores; twin of ``nmmo_gpu.train.window``.

The one-hot codes of a window are never in memory: a program reads the bytes of a few cells of many records,
compares them with the codes, and multiplies what comes out with those cells' rows of the table. Backward is
the same with the codes turned round, summed in a fixed order, so that it gives the same bits each time."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.kernels.launch import INTERPRETED, launch
from nmmo_gpu.world.content import Material
from nmmo_gpu.world.layout import ObservationLayout

GRASS = tl.constexpr(int(Material.GRASS))
MATERIAL_CODES = tl.constexpr(len(Material) - 1)
COLUMNS = 128
"""Columns of one-hot codes looked at at a time: 16 cells of 8 codes, where there are no NPCs."""


class Tile(NamedTuple):
    """How much a program handles at a time."""

    samples: int
    """Records."""
    width: int
    """Outputs."""
    warps: int


# The largest that need no more registers than there are, by scripts/compile_kernels.py.
FORWARD = {torch.bfloat16: Tile(128, 128, 8), torch.float32: Tile(32, 64, 4)}
BACKWARD = {torch.bfloat16: Tile(64, 128, 8), torch.float32: Tile(32, 64, 4)}
PROGRAMS = 264
"""Programs that keep a large GPU busy (two for each of an H100's processors)."""


@triton.jit
def one_hot(
    records, line, here, group, CELLS: tl.constexpr, BYTES: tl.constexpr, MATERIAL_AT: tl.constexpr,
    OCCUPANT_AT: tl.constexpr, GROUP: tl.constexpr, CODES: tl.constexpr, SAMPLES: tl.constexpr,
):  # fmt: skip
    """[SAMPLES, GROUP * CODES] bool: the codes of a group of cells in the records at ``line``: the materials
    but for grass, friend, stranger, and the kinds of NPCs."""
    cell = group * GROUP + tl.arange(0, GROUP)
    known = here[:, None] & (cell < CELLS)[None, :]
    at = records + line[:, None] * BYTES + cell[None, :]
    material = tl.load(at + MATERIAL_AT, mask=known, other=GRASS).to(tl.int32)[:, :, None]
    occupant = tl.load(at + OCCUPANT_AT, mask=known, other=0).to(tl.int32)[:, :, None]
    code = tl.arange(0, CODES)[None, None, :]
    ground = tl.where(code < GRASS, code, code + 1)  # codes of materials leave grass out
    codes = tl.where(code < MATERIAL_CODES, material == ground, occupant == code - MATERIAL_CODES + 1)
    return tl.reshape(codes, [SAMPLES, GROUP * CODES])


@triton.jit
def _window_forward(
    records, index, table, out, rows, blocks, parts, hidden,
    CELLS: tl.constexpr, BYTES: tl.constexpr, MATERIAL_AT: tl.constexpr, OCCUPANT_AT: tl.constexpr,
    GROUP: tl.constexpr, CODES: tl.constexpr, SAMPLES: tl.constexpr, WIDTH: tl.constexpr,
    PRECISION: tl.constexpr, OPERANDS: tl.constexpr,
):  # fmt: skip
    """Order-free: every output is written by one program."""
    program = tl.program_id(0)
    part = program % parts
    block = (program // parts) % blocks
    population = (program // parts // blocks).to(tl.int64)
    sample = block * SAMPLES + tl.arange(0, SAMPLES)
    here = sample < rows
    line = tl.load(index + population * rows + sample, mask=here, other=0)
    column = part * WIDTH + tl.arange(0, WIDTH)
    row = tl.arange(0, GROUP * CODES)
    total = tl.zeros([SAMPLES, WIDTH], tl.float32)
    for group in range((CELLS + GROUP - 1) // GROUP):
        codes = one_hot(
            records, line, here, group, CELLS, BYTES, MATERIAL_AT, OCCUPANT_AT, GROUP, CODES, SAMPLES
        )
        first = group * (GROUP * CODES)
        place = (population * (CELLS * CODES) + first + row)[:, None] * hidden + column[None, :]
        known = (first + row < CELLS * CODES)[:, None] & (column < hidden)[None, :]
        weights = tl.load(table + place, mask=known, other=0.0)
        total = tl.dot(codes.to(OPERANDS), weights.to(OPERANDS), total, input_precision=PRECISION)
    into = out + (population * rows + sample)[:, None] * hidden + column[None, :]
    tl.store(into, total.to(out.dtype.element_ty), mask=here[:, None] & (column < hidden)[None, :])


@triton.jit
def _window_backward(
    records, index, grad, out, rows, groups, parts, hidden, table_rows, STEPS: tl.constexpr,
    CELLS: tl.constexpr, BYTES: tl.constexpr, MATERIAL_AT: tl.constexpr, OCCUPANT_AT: tl.constexpr,
    GROUP: tl.constexpr, CODES: tl.constexpr, SAMPLES: tl.constexpr, WIDTH: tl.constexpr,
    PRECISION: tl.constexpr, OPERANDS: tl.constexpr,
):  # fmt: skip
    """The table's gradient from a share of the samples.

    Order-free: every entry of every share is written by one program; the shares are added afterwards."""
    program = tl.program_id(0)
    part = program % parts
    group = (program // parts) % groups
    population = (program // parts // groups) % (table_rows // (CELLS * CODES))
    split = program // parts // groups // (table_rows // (CELLS * CODES))
    population = population.to(tl.int64)
    column = part * WIDTH + tl.arange(0, WIDTH)
    total = tl.zeros([GROUP * CODES, WIDTH], tl.float32)
    for step in range(STEPS):
        sample = (split * STEPS + step) * SAMPLES + tl.arange(0, SAMPLES)
        here = sample < rows
        line = tl.load(index + population * rows + sample, mask=here, other=0)
        codes = one_hot(
            records, line, here, group, CELLS, BYTES, MATERIAL_AT, OCCUPANT_AT, GROUP, CODES, SAMPLES
        )
        place = (population * rows + sample)[:, None] * hidden + column[None, :]
        known = here[:, None] & (column < hidden)[None, :]
        slope = tl.load(grad + place, mask=known, other=0.0)
        total = tl.dot(tl.trans(codes.to(OPERANDS)), slope.to(OPERANDS), total, input_precision=PRECISION)
    row = group * (GROUP * CODES) + tl.arange(0, GROUP * CODES)
    place = split.to(tl.int64) * table_rows + population * (CELLS * CODES) + row
    into = out + place[:, None] * hidden + column[None, :]
    tl.store(into, total, mask=(row < CELLS * CODES)[:, None] & (column < hidden)[None, :])


def _constants(
    layout: ObservationLayout, cells: int, codes: int, hidden: int, dtype: torch.dtype, tile: Tile
) -> dict[str, Any]:
    return {
        "CELLS": cells,
        "BYTES": layout.bytes,
        "MATERIAL_AT": layout.fields["material"].offset,
        "OCCUPANT_AT": layout.fields["occupant"].offset,
        "GROUP": max(1, COLUMNS // codes),
        "CODES": codes,
        "SAMPLES": tile.samples,
        "WIDTH": min(tile.width, max(16, triton.next_power_of_2(hidden))),
        "PRECISION": "ieee" if dtype == torch.float32 else "tf32",  # of no effect on 16 bits
        # The interpreter (of Triton 3.9) multiplies bfloat16 as if its bits were integers.
        "OPERANDS": tl.bfloat16 if dtype == torch.bfloat16 and not INTERPRETED else tl.float32,
    }


def forward(records: Tensor, index: Tensor, table: Tensor, layout: ObservationLayout) -> Tensor:
    """[P, B, hidden] in the table's dtype, from [P, cells, codes, hidden]; codes is a power of two."""
    populations, cells, codes, hidden = table.shape
    rows = index.shape[1]
    tile = FORWARD[table.dtype]
    constants = _constants(layout, cells, codes, hidden, table.dtype, tile)
    out = torch.empty(populations, rows, hidden, dtype=table.dtype, device=table.device)
    blocks, parts = triton.cdiv(rows, tile.samples), triton.cdiv(hidden, constants["WIDTH"])
    launch(
        _window_forward, populations * blocks * parts, records, index, table, out, rows, blocks, parts,
        hidden, warps=tile.warps, **constants,
    )  # fmt: skip
    return out


def backward(
    records: Tensor, index: Tensor, grad: Tensor, cells: int, codes: int, layout: ObservationLayout
) -> Tensor:
    """[P, cells, codes, hidden] float32: the table's gradient from [P, B, hidden]."""
    populations, rows, hidden = grad.shape
    tile = BACKWARD[grad.dtype]
    constants = _constants(layout, cells, codes, hidden, grad.dtype, tile)
    groups, parts = triton.cdiv(cells, constants["GROUP"]), triton.cdiv(hidden, constants["WIDTH"])
    apart = populations * groups * parts
    splits = max(1, min(PROGRAMS // apart, triton.cdiv(rows, tile.samples)))
    steps = triton.cdiv(triton.cdiv(rows, splits), tile.samples)
    shares = torch.empty(splits, populations, cells, codes, hidden, device=grad.device)
    launch(
        _window_backward, splits * apart, records, index, grad, shares, rows, groups, parts, hidden,
        populations * cells * codes, STEPS=steps, warps=tile.warps, **constants,
    )  # fmt: skip
    return shares.sum(0) if splits > 1 else shares[0]


class WindowEmbedding(torch.autograd.Function):
    """See ``nmmo_gpu.train.window.window_embedding``; the table without its row for grass, and with rows that
    nothing names, up to a power of two."""

    @staticmethod
    def forward(ctx: Any, records: Tensor, index: Tensor, table: Tensor, layout: ObservationLayout) -> Tensor:
        ctx.save_for_backward(records, index)
        ctx.layout, ctx.sizes, ctx.dtype = layout, table.shape[1:3], table.dtype
        return forward(records, index, table.contiguous(), layout)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        records, index = ctx.saved_tensors
        table = backward(records, index, grads[0].contiguous(), *ctx.sizes, ctx.layout)
        return None, None, table.to(ctx.dtype), None


def window_embedding(records: Tensor, index: Tensor, table: Tensor, layout: ObservationLayout) -> Tensor:
    """See ``nmmo_gpu.train.window.window_embedding``; float32 or bfloat16, summed in float32."""
    parts = [table[:, :, : Material.GRASS], table[:, :, Material.GRASS + 1 :]]
    codes = table.shape[2] - 1
    if unused := triton.next_power_of_2(codes) - codes:
        parts.append(table.new_zeros(*table.shape[:2], unused, table.shape[3]))
    out: Tensor = WindowEmbedding.apply(records, index.contiguous(), torch.cat(parts, 2), layout)
    return out
