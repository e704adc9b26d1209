"""Lists of the contents of each window, and the window embedding computed from them.

A sum of embeddings is a bag look-up, for which torch has a very fast CPU implementation (FBGEMM). This module
writes the table rows that each record refers to, directly from the records. For the gradient it writes the
inverse, the records that refer to each row of the table, so that it too is a bag look-up, without
collisions."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nmmo_gpu.content import Material
from nmmo_gpu.cpu.compile import compiled
from nmmo_gpu.cpu.threads import parallel, slices
from nmmo_gpu.world.network_inputs import FIRST_OCCUPANT
from nmmo_gpu.world.observation_layout import ObservationLayout

GRASS = int(Material.GRASS)
SLICES = 8


_Windows = namedtuple("_Windows", "material occupant side pitch")
"""First bytes of the windows in a record, cells of a row, and bytes from one row to the next."""


@compiled
def _count(records, index, windows, counts, low, high):
    size = windows.side * windows.pitch
    padding = windows.side * (windows.pitch - windows.side)
    for i in range(low, high):
        row = records[index[i]]
        material = row[windows.material : windows.material + size]
        occupant = row[windows.occupant : windows.occupant + size]
        named = -padding  # the padding of materials is 0, which is not grass
        for byte in range(size):
            named += (material[byte] != GRASS) + (occupant[byte] != 0)
        counts[i] = named


@compiled
def _list(records, index, windows, codes, rows, offsets, bags, low, high):
    side = windows.side
    for i in range(low, high):
        row = records[index[i]]
        table = np.int32((i // rows) * side * side * codes)
        at = offsets[i]
        end = offsets[i + 1]
        for r in range(side):
            byte = r * windows.pitch
            material = row[windows.material + byte : windows.material + byte + side]
            occupant = row[windows.occupant + byte : windows.occupant + byte + side]
            first = table + r * side * codes
            for c in range(side):
                # Always written, and kept only if it counts: no branch to be mispredicted.
                if at < end:
                    bags[at] = first + c * codes + material[c]
                at += material[c] != GRASS
                if occupant[c]:
                    bags[at] = first + c * codes + FIRST_OCCUPANT + occupant[c]
                    at += 1


@compiled
def _reverse(offsets, bags, starts, members, per_population, rows, low, high):
    """Populations low to high: the start of each table row's list, and the records in it, in order."""
    for p in range(low, high):
        first = offsets[p * rows]
        last = offsets[(p + 1) * rows]
        base = p * per_population
        fill = np.zeros(per_population + 1, np.int64)
        for k in range(first, last):
            fill[bags[k] - base + 1] += 1
        fill[0] = first
        for e in range(per_population):
            fill[e + 1] += fill[e]
            starts[base + e] = fill[e]
        for i in range(p * rows, (p + 1) * rows):
            for k in range(offsets[i], offsets[i + 1]):
                e = bags[k] - base
                members[fill[e]] = i
                fill[e] += 1


class WindowEmbedding(torch.autograd.Function):
    """See ``nmmo_gpu.train.window.window_embedding``."""

    @staticmethod
    def forward(ctx: Any, records: Tensor, index: Tensor, table: Tensor, windows: _Windows) -> Tensor:
        populations, cells, codes, hidden = table.shape
        rows = index.shape[1]
        data, which = records.numpy(), index.reshape(-1).numpy()
        pieces = slices(len(which), SLICES)
        offsets = np.zeros(len(which) + 1, np.int32)
        parallel(_count, [(data, which, windows, offsets[1:], *p) for p in pieces])
        np.cumsum(offsets, out=offsets)
        bags = np.empty(offsets[-1], np.int32)
        parallel(_list, [(data, which, windows, codes, rows, offsets, bags, *p) for p in pieces])
        flat = table.detach().reshape(-1, hidden)
        out = _look_up(flat, bags, offsets)
        ctx.lists = offsets, bags
        ctx.sizes = populations, rows, cells, codes
        return out.view(populations, rows, hidden)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        offsets, bags = ctx.lists
        populations, rows, cells, codes = ctx.sizes
        per_population = cells * codes
        grad = grads[0].reshape(populations * rows, -1)
        starts = np.empty(populations * per_population + 1, np.int32)
        starts[-1] = len(bags)
        members = np.empty(len(bags), np.int32)
        fixed = (offsets, bags, starts, members, per_population, rows)
        parallel(_reverse, [(*fixed, p, p + 1) for p in range(populations)])
        table = _look_up(grad, members, starts)
        return None, None, table.view(populations, cells, codes, grad.shape[1]), None


def window_embedding(records: Tensor, index: Tensor, table: Tensor, layout: ObservationLayout) -> Tensor:
    """See ``nmmo_gpu.train.window.window_embedding``; for tensors on the CPU."""
    starts = (layout.fields[name].offset for name in ("material", "occupant"))
    windows = _Windows(*starts, layout.window, layout.pitch)
    out: Tensor = WindowEmbedding.apply(records, index, table.float(), windows)
    return out.to(table.dtype)


def _look_up(table: Tensor, bags: np.ndarray, offsets: np.ndarray) -> Tensor:
    """[n, width]: for each bag, the sum of the table rows in its list."""
    members, starts = torch.from_numpy(bags), torch.from_numpy(offsets[:-1])
    return torch.embedding_bag(table, members, starts, False, 0, False, None, False)[0]
