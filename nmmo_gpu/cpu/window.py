"""The window embedding as compiled loops; twin of ``nmmo_gpu.train.window``'s torch path."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from nmmo_gpu.cpu.threads import parallel, slices
from nmmo_gpu.world.content import Material

FIRST_OCCUPANT = len(Material) - 1
"""Added to an occupant's kind (1 or 2) gives its row of the table."""
SPLITS = 8
"""Pieces into which a batch is cut, whatever the number of threads, so that sums always add up alike."""


@numba.njit(nogil=True, fastmath=True, cache=True)
def _sum_rows(records, index, table, material_at, occupant_at, out, low, high):  # type: ignore[no-untyped-def]
    cells, hidden = table.shape[0], table.shape[2]
    total = np.empty(hidden, np.float32)
    for i in range(low, high):
        row = records[index[i]]
        total[:] = 0.0
        for cell in range(cells):
            line = table[cell, row[material_at + cell]]
            for h in range(hidden):
                total[h] += line[h]
            kind = row[occupant_at + cell]
            if kind:
                line = table[cell, FIRST_OCCUPANT + kind]
                for h in range(hidden):
                    total[h] += line[h]
        out[i, :] = total


@numba.njit(nogil=True, fastmath=True, cache=True)
def _scatter_rows(records, index, grad, material_at, occupant_at, out, low, high):  # type: ignore[no-untyped-def]
    cells, hidden = out.shape[0], out.shape[2]
    out[:] = 0.0
    for i in range(low, high):
        row = records[index[i]]
        line = grad[i]
        for cell in range(cells):
            total = out[cell, row[material_at + cell]]
            for h in range(hidden):
                total[h] += line[h]
            kind = row[occupant_at + cell]
            if kind:
                total = out[cell, FIRST_OCCUPANT + kind]
                for h in range(hidden):
                    total[h] += line[h]


class WindowEmbedding(torch.autograd.Function):
    """See ``nmmo_gpu.train.window.window_embedding``; reads the records in place, without copying a batch."""

    @staticmethod
    def forward(
        ctx: Any, records: Tensor, index: Tensor, table: Tensor, material_at: int, occupant_at: int
    ) -> Tensor:
        table = table.detach().contiguous()
        out = torch.empty(*index.shape, table.shape[-1], dtype=torch.float32)
        ctx.save_for_backward(records, index)
        ctx.places = material_at, occupant_at
        ctx.table_shape = table.shape
        tasks = [
            (
                records.numpy(), index[p].numpy(), table[p].numpy(), material_at, occupant_at,
                out[p].numpy(), low, high,
            )
            for p in range(table.shape[0])
            for low, high in slices(index.shape[1], SPLITS)
        ]  # fmt: skip
        parallel(_sum_rows, tasks)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        records, index = ctx.saved_tensors
        grad = grads[0].contiguous()
        populations = ctx.table_shape[0]
        # A piece has its own table to add into; several populations need fewer pieces each.
        pieces = slices(index.shape[1], max(1, SPLITS // populations))
        parts = torch.empty(populations, len(pieces), *ctx.table_shape[1:])
        tasks = [
            (
                records.numpy(), index[p].numpy(), grad[p].numpy(), *ctx.places,
                parts[p, piece].numpy(), low, high,
            )
            for p in range(populations)
            for piece, (low, high) in enumerate(pieces)
        ]  # fmt: skip
        parallel(_scatter_rows, tasks)
        return None, None, parts.sum(1), None, None
