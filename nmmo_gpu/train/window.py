"""The window's part of the first layer: sums of embeddings, looked up by the cells of observation records."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.content import Material
from nmmo_gpu.world.network_inputs import FIRST_OCCUPANT
from nmmo_gpu.world.observation_layout import ObservationLayout


def window_embedding(records: Tensor, index: Tensor, table: Tensor, layout: ObservationLayout) -> Tensor:
    """Sums, for each record, the rows of the table for the codes in each cell of its window.

    This equals a linear layer on one-hot codes without building them: a few hundred additions of rows in
    place of a matrix product with a thousand columns that are nearly all zero.

    Args:
        records: [rows, bytes] uint8.
        index: [P, B] int64, the rows of each population.
        table: [P, cells, codes, hidden] float32 or bfloat16.
        layout: layout of the records.

    Returns:
        [P, B, hidden] of the table's dtype; differentiable with respect to the table.
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
