"""The layers between the network's first layer and its heads, with the matrix products of the BLAS library,
and one kernel for the operations between two products, forward and backward."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.kernels.launch import INTERPRETED, launch

_Sizes = namedtuple("_Sizes", "rows blocks parts hidden")
"""Rows per population; the numbers of tiles along the rows and along the columns; and columns."""

ELEMENTS = 1 << 16 if INTERPRETED else 4096
"""Activations that a program processes at a time."""
WIDTH = 512
"""Maximum number of columns of a tile."""
STEPS = 2 if INTERPRETED else 8
"""Tiles that a program of the backward pass sums over."""


@triton.jit
def _bias_relu(
    products, bias, residual, out, sizes, RESIDUAL: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr
):
    """Order-free: each output is written by one program, and only that program reads what it overwrites."""
    program = tl.program_id(0)
    part = program % sizes.parts
    block = (program // sizes.parts) % sizes.blocks
    population = (program // sizes.parts // sizes.blocks).to(tl.int64)
    column = part * WIDTH + tl.arange(0, WIDTH)
    row = block * ROWS + tl.arange(0, ROWS)
    here = (row < sizes.rows)[:, None] & (column < sizes.hidden)[None, :]
    place = (population * sizes.rows + row)[:, None] * sizes.hidden + column[None, :]
    known = column < sizes.hidden
    added = tl.load(bias + population * sizes.hidden + column, mask=known, other=0.0).to(tl.float32)
    value = tl.load(products + place, mask=here, other=0.0).to(tl.float32) + added[None, :]
    value = tl.maximum(value, 0.0, propagate_nan=tl.PropagateNan.ALL)
    if RESIDUAL:
        value += tl.load(residual + place, mask=here, other=0.0).to(tl.float32)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=here)


@triton.jit
def _bias_relu_backward(
    grad, products, bias, grad_products, shares, sizes, BIASED: tl.constexpr, STEPS: tl.constexpr,
    ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """The gradient where the unit was active, and its sum over a block of rows, for the bias.

    Order-free: each entry is written by one program; the sums are added afterwards."""
    program = tl.program_id(0)
    part = program % sizes.parts
    block = (program // sizes.parts) % sizes.blocks
    population = (program // sizes.parts // sizes.blocks).to(tl.int64)
    column = part * WIDTH + tl.arange(0, WIDTH)
    known = column < sizes.hidden
    added = tl.zeros([WIDTH], tl.float32)
    if BIASED:
        added = tl.load(bias + population * sizes.hidden + column, mask=known, other=0.0).to(tl.float32)
    total = tl.zeros([ROWS, WIDTH], tl.float32)
    for step in range(STEPS):
        row = (block * STEPS + step) * ROWS + tl.arange(0, ROWS)
        here = (row < sizes.rows)[:, None] & known[None, :]
        place = (population * sizes.rows + row)[:, None] * sizes.hidden + column[None, :]
        value = tl.load(products + place, mask=here, other=0.0).to(tl.float32) + added[None, :]
        slope = tl.load(grad + place, mask=here, other=0.0).to(tl.float32)
        slope = tl.where(value > 0.0, slope, 0.0)
        tl.store(grad_products + place, slope.to(grad_products.dtype.element_ty), mask=here)
        total += slope
    into = shares + (population * sizes.blocks + block) * sizes.hidden + column
    tl.store(into, tl.sum(total, 0), mask=known)


def _tile(hidden: int) -> tuple[int, int]:
    """Returns (rows, columns) of a tile."""
    width = min(WIDTH, triton.next_power_of_2(hidden))
    return ELEMENTS // width, width


def bias_relu(products: Tensor, bias: Tensor, residual: Tensor | None, out: Tensor) -> Tensor:
    """Writes ``relu(products + bias)``, plus the residual if given, to ``out`` and returns ``out``.

    Args:
        products: [P, B, hidden], contiguous.
        bias: [P, 1, hidden].
        residual: [P, B, hidden], contiguous; or None.
        out: [P, B, hidden], contiguous; it can be ``products`` or ``residual``.
    """
    populations, rows, hidden = products.shape
    tall, width = _tile(hidden)
    blocks, parts = triton.cdiv(rows, tall), triton.cdiv(hidden, width)
    launch(
        _bias_relu, populations * blocks * parts, products, bias, products if residual is None else residual,
        out, _Sizes(rows, blocks, parts, hidden), RESIDUAL=residual is not None, ROWS=tall, WIDTH=width,
    )  # fmt: skip
    return out


def bias_relu_backward(grad: Tensor, products: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Returns (gradient of the products [P, B, hidden], gradient of the bias [P, 1, hidden]), in the dtype of
    ``grad``.

    Args:
        grad: [P, B, hidden], contiguous, the gradient of ``relu(products + bias)``.
        products: [P, B, hidden], contiguous.
        bias: [P, 1, hidden], contiguous; None if ``products`` holds the sum, its ReLU, or any other numbers
            of any dtype that are positive where the sum is.
    """
    populations, rows, hidden = products.shape
    tall, width = _tile(hidden)
    blocks, parts = triton.cdiv(rows, tall * STEPS), triton.cdiv(hidden, width)
    out = torch.empty_like(grad)
    shares = torch.empty(populations, blocks, hidden, device=products.device, dtype=torch.float32)
    launch(
        _bias_relu_backward, populations * blocks * parts, grad, products,
        products if bias is None else bias, out, shares, _Sizes(rows, blocks, parts, hidden),
        BIASED=bias is not None, STEPS=STEPS, ROWS=tall, WIDTH=width,
    )  # fmt: skip
    return out, shares.sum(1, keepdim=True).to(grad.dtype)


class HiddenLayers(torch.autograd.Function):
    """See ``nmmo_gpu.train.layers.hidden_layers``; the parameters are all biases, then all matrices."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, *parameters: Tensor) -> Tensor:
        layers = len(parameters) // 2
        biases, matrices = parameters[:layers], parameters[layers:]
        learning = any(ctx.needs_input_grad)
        hidden = torch.relu(total)
        seen, products = [hidden], []
        for layer, (bias, matrix) in enumerate(zip(biases, matrices, strict=True)):
            product = torch.bmm(hidden, matrix)
            residual = hidden if layer else None
            # Without a residual, a unit is active where its output is not zero, so the product can be freed.
            into = product if residual is None else torch.empty_like(product) if learning else hidden
            hidden = bias_relu(product, bias, residual, into)
            if learning:
                seen.append(hidden)
                products.append(product)
        if learning:
            ctx.save_for_backward(*biases, *matrices, *seen[:-1], *products)
        return hidden

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        saved = ctx.saved_tensors
        layers = len(saved) // 4
        biases, matrices, seen, products = (saved[k * layers : (k + 1) * layers] for k in range(4))
        grad, owned = grads[0].contiguous(), False
        of_biases, of_matrices = [], []
        for layer in reversed(range(layers)):
            bias = biases[layer] if layer else None
            slope, of_bias = bias_relu_backward(grad, products[layer], bias)
            of_biases.append(of_bias)
            of_matrices.append(torch.bmm(seen[layer].mT, slope))
            back = matrices[layer].mT
            if layer == 0:
                grad = torch.bmm(slope, back)
            elif owned:
                grad.baddbmm_(slope, back)
            else:
                grad, owned = torch.baddbmm(grad, slope, back), True
        # The first layer: ``total`` includes its bias.
        grad = torch.ops.aten.threshold_backward(grad, seen[0], 0.0)
        return grad, *reversed(of_biases), *reversed(of_matrices)


def library_layers(total: Tensor, matrices: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """See ``nmmo_gpu.train.layers.hidden_layers``."""
    out: Tensor = HiddenLayers.apply(total, *biases, *matrices)
    return out
