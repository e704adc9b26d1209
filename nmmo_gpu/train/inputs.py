"""All inputs of the network as the columns of one matrix.

Window, own state, entity table and, in the full game, attributes are concatenated, so that the first layer is
one matrix product. On a GPU this is faster than avoiding the zeros of the window's one-hot codes; on a CPU it
is not (``nmmo_gpu.train.window``)."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import Material
from nmmo_gpu.train import features
from nmmo_gpu.world.network_inputs import FIRST_OCCUPANT, InputColumns, codes
from nmmo_gpu.world.observation_layout import FRIEND, STRANGER, ObservationLayout


def own_state(views: dict[str, Tensor], scale: Tensor) -> Tensor:
    """Returns [..., features] float32: own state, scaled to about -0.5 ... 0.5.

    Args:
        views: fields of records.
        scale: [2, features]: factors, and the centers that are subtracted first."""
    return ((views["self"] - scale[1]) * scale[0]).clamp(max=1.0)  # age has no upper bound


def entity_rows(views: dict[str, Tensor], scale: Tensor) -> Tensor:
    """Returns [..., nearest, described] float32: the entity table, scaled to about -1 ... 1.

    Empty rows are zero. The columns of the two kinds of agents act as the bias of existing rows.

    Args:
        views: fields of records.
        scale: [features], factors."""
    kind = views["entity_kind"]
    kinds = torch.stack((kind == FRIEND, kind == STRANGER), -1)
    return torch.cat((views["entities"] * scale, kinds), -1)


def encode_inputs(
    records: Tensor,
    index: Tensor,
    config: WorldConfig,
    own_scale: Tensor,
    entity_scale: Tensor,
    dtype: torch.dtype,
) -> Tensor:
    """Returns [P, B, columns] of ``dtype``: the inputs of ``records[index]``, laid out by ``InputColumns``.

    Args:
        records: [rows, bytes] uint8.
        index: [P, B] int64, the rows of each population.
        config: rules of the world.
        own_scale: as for ``own_state``.
        entity_scale: as for ``entity_rows``.
        dtype: float32 or bfloat16.
    """
    layout, columns = ObservationLayout(config), InputColumns.of(config)
    views = layout.views(records[index])
    device = records.device
    grounds = torch.tensor([m for m in Material if m != Material.GRASS], dtype=torch.uint8, device=device)
    kinds = torch.arange(1, codes(config) - FIRST_OCCUPANT, dtype=torch.uint8, device=device)
    seen = (views[name].flatten(2)[..., None] for name in ("material", "occupant"))
    hits = [field == wanted for field, wanted in zip(seen, (grounds, kinds), strict=True)]
    out = torch.zeros(*index.shape, columns.width, dtype=dtype, device=device)
    out[..., columns.window] = torch.cat(hits, -1).flatten(2).to(dtype)
    out[..., columns.one] = 1.0
    out[..., columns.own] = own_state(views, own_scale).to(dtype)
    out[..., columns.entities] = entity_rows(views, entity_scale).flatten(2).to(dtype)
    if config.extended:
        out[..., columns.attributes], _ = features.encode_features(records, index, views, config, dtype)
    return out
