"""The layers between the network's first layer and its heads, each as one kernel: matrix product, bias, ReLU
and residual connection; twin of ``nmmo_gpu.train.layers``.

Between two products, nothing passes through memory but the activations themselves, one byte per unit that
says whether it was active, and in the backward pass the gradients before and after the ReLU. The BLAS library
computes the gradients of the matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.kernels.launch import INTERPRETED, launch
from nmmo_gpu.kernels.train.library_layers import bias_relu_backward
from nmmo_gpu.kernels.train.tiles import Tile, target_of, tiles_for


@triton.jit
def _halves(total):
    """Returns the left and the right half of [ROWS, COLUMNS]. The end of a kernel works on a quarter at a
    time, so that it needs few registers."""
    ROWS: tl.constexpr = total.shape[0]
    HALF: tl.constexpr = total.shape[1] // 2
    return tl.split(tl.permute(tl.reshape(total, (ROWS, 2, HALF)), (0, 2, 1)))


@triton.jit
def _product(
    a, b, left, first_column, RELU: tl.constexpr, TRANSPOSED: tl.constexpr, SAVE: tl.constexpr, kept,
    HIDDEN: tl.constexpr, tile: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Returns [ROWS, COLUMNS] float32: rows of ``a`` times columns of ``b``, or of its transpose.

    With RELU, negative entries of ``a`` count as zero, and with SAVE the result of that is stored."""
    # Triton 3.6 takes a field of a named tuple as a constant only under a name of its own.
    ROWS: tl.constexpr = tile.rows
    COLUMNS: tl.constexpr = tile.columns
    DEPTH: tl.constexpr = tile.depth
    STAGES: tl.constexpr = tile.stages
    row = tl.arange(0, ROWS)
    column = first_column + tl.arange(0, COLUMNS)
    step = tl.arange(0, DEPTH)
    saved = tl.where(first_column == 0, left, 0)
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for start in tl.range(0, HIDDEN, DEPTH, num_stages=STAGES):
        place = start + step
        here = (row < left)[:, None] & (place < HIDDEN)[None, :]
        at = row[:, None] * HIDDEN + place[None, :]
        value = tl.load(a + at, mask=here, other=0.0)
        if RELU:
            # In float32, because the interpreter does not compare numbers in bfloat16.
            positive = tl.maximum(value.to(tl.float32), 0.0, propagate_nan=tl.PropagateNan.ALL)
            value = positive.to(a.dtype.element_ty)
            if SAVE:
                tl.store(kept + at, value, mask=here & (row < saved)[:, None])
        if TRANSPOSED:
            from_b = b + column[None, :] * HIDDEN + place[:, None]
        else:
            from_b = b + place[:, None] * HIDDEN + column[None, :]
        inside = (place < HIDDEN)[:, None] & (column < HIDDEN)[None, :]
        matrix = tl.load(from_b, mask=inside, other=0.0)
        if EXACT:
            total = tl.dot(value.to(tl.float32), matrix.to(tl.float32), total, input_precision="ieee")
        else:
            total = tl.dot(value, matrix, total)
    return total


@triton.jit
def _finish(
    total, a, bias, out, active, rows_left, column, FIRST: tl.constexpr, LEARNING: tl.constexpr,
    HIDDEN: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """The end of ``_layer`` for some columns."""
    ROWS: tl.constexpr = tile.rows
    known = column < HIDDEN
    row = tl.arange(0, ROWS)
    here = (row < rows_left)[:, None] & known[None, :]
    place = row[:, None] * HIDDEN + column[None, :]
    total += tl.load(bias + column, mask=known, other=0.0).to(tl.float32)[None, :]
    value = tl.maximum(total, 0.0, propagate_nan=tl.PropagateNan.ALL)
    if not FIRST:
        if LEARNING:
            tl.store(active + place, (total > 0.0).to(tl.uint8), mask=here)
        value += tl.load(a + place, mask=here, other=0.0).to(tl.float32)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=here)


@triton.jit
def _my_tile(rows, HIDDEN: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Returns what this program computes: population (int64), number of its block of rows among those of all
    populations (int64), first column, rows from its first one to the population's last, and index of the
    first element of its rows (int64)."""
    PARTS: tl.constexpr = (HIDDEN + COLUMNS - 1) // COLUMNS
    blocks = tl.cdiv(rows, ROWS)
    program = tl.program_id(0)
    block = (program // PARTS) % blocks
    population = (program // PARTS // blocks).to(tl.int64)
    offset = (population * rows + block * ROWS) * HIDDEN
    return population, population * blocks + block, (program % PARTS) * COLUMNS, rows - block * ROWS, offset


@triton.jit
def _layer(
    a, b, bias, out, active, kept, rows, FIRST: tl.constexpr, LEARNING: tl.constexpr, HIDDEN: tl.constexpr,
    tile: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """One layer: ``a + relu(a @ b + bias)``, or with FIRST ``relu(relu(a) @ b + bias)``.

    For the backward pass, it stores which units were active, or with FIRST ``relu(a)``.

    Order-free: each result is written by one program."""
    ROWS: tl.constexpr = tile.rows
    COLUMNS: tl.constexpr = tile.columns
    QUARTER: tl.constexpr = COLUMNS // 4
    population, _, first_column, left, offset = _my_tile(rows, HIDDEN, ROWS, COLUMNS)
    total = _product(
        a + offset, b + population * HIDDEN * HIDDEN, left, first_column, FIRST, False, FIRST and LEARNING,
        kept + offset, HIDDEN, tile, EXACT,
    )  # fmt: skip
    left_half, right_half = _halves(total)
    one, two = _halves(left_half)
    three, four = _halves(right_half)
    a, out, active, bias = a + offset, out + offset, active + offset, bias + population * HIDDEN
    column = first_column + tl.arange(0, QUARTER)
    _finish(one, a, bias, out, active, left, column, FIRST, LEARNING, HIDDEN, tile)
    _finish(two, a, bias, out, active, left, column + QUARTER, FIRST, LEARNING, HIDDEN, tile)
    _finish(three, a, bias, out, active, left, column + 2 * QUARTER, FIRST, LEARNING, HIDDEN, tile)
    _finish(four, a, bias, out, active, left, column + 3 * QUARTER, FIRST, LEARNING, HIDDEN, tile)


@triton.jit
def _finish_backward(
    total, residual, active, grad, slope, shares, rows_left, column, RESIDUAL: tl.constexpr,
    GRAD: tl.constexpr, SHARES: tl.constexpr, HIDDEN: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """The end of ``_layer_backward`` for some columns."""
    ROWS: tl.constexpr = tile.rows
    known = column < HIDDEN
    row = tl.arange(0, ROWS)
    here = (row < rows_left)[:, None] & known[None, :]
    place = row[:, None] * HIDDEN + column[None, :]
    if RESIDUAL:
        total += tl.load(residual + place, mask=here, other=0.0).to(tl.float32)
    if GRAD:
        tl.store(grad + place, total.to(grad.dtype.element_ty), mask=here)
    positive = tl.load(active + place, mask=here, other=0).to(tl.float32) > 0.0
    total = tl.where(positive, total, 0.0)
    tl.store(slope + place, total.to(slope.dtype.element_ty), mask=here)
    if SHARES:
        tl.store(shares + column, tl.sum(total, 0), mask=known)


@triton.jit
def _layer_backward(
    a, b, residual, active, grad, slope, shares, rows, RESIDUAL: tl.constexpr, GRAD: tl.constexpr,
    SHARES: tl.constexpr, HIDDEN: tl.constexpr, tile: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """The gradient of a layer's input, ``a @ b.T`` plus the residual connection's, and from it the next
    slopes: the gradient where ``active`` is positive, and zero elsewhere; and their sums over the rows.

    Order-free: each result is written by one program; the sums are added afterwards."""
    ROWS: tl.constexpr = tile.rows
    COLUMNS: tl.constexpr = tile.columns
    QUARTER: tl.constexpr = COLUMNS // 4
    population, share, first_column, left, offset = _my_tile(rows, HIDDEN, ROWS, COLUMNS)
    total = _product(
        a + offset, b + population * HIDDEN * HIDDEN, left, first_column, False, True, False, a, HIDDEN,
        tile, EXACT,
    )  # fmt: skip
    left_half, right_half = _halves(total)
    one, two = _halves(left_half)
    three, four = _halves(right_half)
    residual, active, grad, slope = residual + offset, active + offset, grad + offset, slope + offset
    shares += share * HIDDEN
    column = first_column + tl.arange(0, QUARTER)
    _finish_backward(
        one, residual, active, grad, slope, shares, left, column, RESIDUAL, GRAD, SHARES, HIDDEN, tile
    )
    _finish_backward(
        two, residual, active, grad, slope, shares, left, column + QUARTER, RESIDUAL, GRAD, SHARES, HIDDEN,
        tile,
    )  # fmt: skip
    _finish_backward(
        three, residual, active, grad, slope, shares, left, column + 2 * QUARTER, RESIDUAL, GRAD, SHARES,
        HIDDEN, tile,
    )  # fmt: skip
    _finish_backward(
        four, residual, active, grad, slope, shares, left, column + 3 * QUARTER, RESIDUAL, GRAD, SHARES,
        HIDDEN, tile,
    )  # fmt: skip


class _Products(NamedTuple):
    """The sizes of the products of all layers, in one direction."""

    populations: int
    rows: int
    hidden: int
    tile: Tile

    @property
    def blocks(self) -> int:
        """Number of tiles along the rows."""
        return -(-self.rows // self.tile.rows)

    def launch(self, kernel: Any, *arguments: Any, **constants: bool) -> None:
        """Launches a kernel for all tiles."""
        programs = self.populations * self.blocks * triton.cdiv(self.hidden, self.tile.columns)
        exact = INTERPRETED or arguments[0].dtype == torch.float32
        launch(
            kernel, programs, *arguments, self.rows, warps=self.tile.warps, **constants, HIDDEN=self.hidden,
            tile=self.tile, EXACT=exact,
        )  # fmt: skip


class FusedLayers(torch.autograd.Function):
    """See ``nmmo_gpu.train.layers.hidden_layers``; the parameters are all biases, then all matrices."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, *parameters: Tensor) -> Tensor:
        layers = len(parameters) // 2
        biases, matrices = parameters[:layers], parameters[layers:]
        learning = any(ctx.needs_input_grad)
        sizes = _Products(*total.shape, tiles_for(target_of(total.device)).forward)
        kept = torch.empty_like(total) if learning else total
        seen, active = [kept], []
        hidden = total
        for layer, (bias, matrix) in enumerate(zip(biases, matrices, strict=True)):
            out = torch.empty_like(total)
            # Without a residual connection, a unit is active where its output is positive.
            stored = torch.empty_like(out, dtype=torch.uint8) if layer and learning else out
            # Where a layer does not store it, any tensor serves as a placeholder.
            sizes.launch(
                _layer, hidden, matrix, bias, out, stored, hidden if layer else kept, FIRST=layer == 0,
                LEARNING=learning,
            )  # fmt: skip
            hidden = out
            seen.append(hidden)
            active.append(stored)
        if learning:
            ctx.save_for_backward(*matrices, *seen[:-1], *active)
        return hidden

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        saved = ctx.saved_tensors
        layers = len(saved) // 3
        matrices, seen, active = (saved[k * layers : (k + 1) * layers] for k in range(3))
        sizes = _Products(*grads[0].shape, tiles_for(target_of(grads[0].device)).backward)
        grad = grads[0].contiguous()
        slope, last_bias = bias_relu_backward(grad, active[-1], None)
        shares = torch.empty(
            layers - 1, sizes.populations, sizes.blocks, sizes.hidden, dtype=torch.float32, device=grad.device
        )
        of_matrices = []
        for layer in reversed(range(layers)):
            of_matrices.append(torch.bmm(seen[layer].mT, slope))
            into = torch.empty_like(grad)
            further = torch.empty_like(grad) if layer > 1 else into
            sizes.launch(
                _layer_backward, slope, matrices[layer], grad, active[layer - 1] if layer else seen[0],
                further, into, shares[layer - 1] if layer else into, RESIDUAL=layer > 0, GRAD=layer > 1,
                SHARES=layer > 0,
            )  # fmt: skip
            grad, slope = further, into
        of_biases = shares.sum(2, keepdim=True).to(grad.dtype).unbind(0) if layers > 1 else ()
        return slope, *of_biases, last_bias, *reversed(of_matrices)


def fused_layers(total: Tensor, matrices: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """See ``nmmo_gpu.train.layers.hidden_layers``."""
    matrices = [matrix.contiguous() for matrix in matrices]
    out: Tensor = FusedLayers.apply(total.contiguous(), *biases, *matrices)
    return out
