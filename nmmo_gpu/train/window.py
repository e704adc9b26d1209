"""The policy's first layer: a sum of one embedding per window cell, straight from observation records."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.content import Material
from nmmo_gpu.world.layout import ObservationLayout
from nmmo_gpu.world.network_inputs import FIRST_OCCUPANT


def window_embedding(records: Tensor, index: Tensor, table: Tensor, layout: ObservationLayout) -> Tensor:
    """Sums, for each record, the table's rows of what stands in each cell of its window.

    The same as a linear layer on one-hot codes, without making them: a few hundred additions of a row in
    place of a matrix product with a thousand columns that are nearly all zero.

    Args:
        records: [rows, bytes] uint8.
        index: [P, B] int64: the rows that each population looks at.
        table: [P, cells, codes, hidden] float32 or bfloat16.

    Returns:
        [P, B, hidden] of the table's dtype; differentiable in the table.
    """
    populations, cells, codes, hidden = table.shape
    rows = index.shape[1]
    views = layout.views(records[index.reshape(-1)])
    material = views["material"].flatten(1).long()
    occupant = views["occupant"].flatten(1).long()
    named = torch.cat((material, occupant + FIRST_OCCUPANT), 1)
    counts = torch.cat((material != Material.GRASS, occupant != 0), 1)
    record, place = counts.nonzero(as_tuple=True)
    first = (record // rows) * (cells * codes) + (place % cells) * codes
    starts = counts.sum(1).cumsum(0) - counts.sum(1)
    summed = torch.nn.functional.embedding_bag(
        first + named[record, place], table.reshape(-1, hidden), starts, mode="sum"
    )
    return summed.view(populations, rows, hidden)
