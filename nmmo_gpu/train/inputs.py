"""All that the network looks at, as the columns of one matrix.

Window, own state, entity table and, in the full game, attributes stand side by side, so that one matrix
product is the whole first layer. On a GPU that is faster than anything that avoids the zeros of the window's
one-hot codes; on a CPU it is not (``nmmo_gpu.train.window``)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.train import features
from nmmo_gpu.train.window import FIRST_OCCUPANT, codes
from nmmo_gpu.world.content import Material
from nmmo_gpu.world.layout import ENTITY_FEATURES, FRIEND, SELF_FEATURES, STRANGER, ObservationLayout

DESCRIBED = (*ENTITY_FEATURES, "friend", "stranger")
"""What the network is told of each row of the entity table."""

ALIGNMENT = 16
"""Parts of the matrix begin at a multiple of this many columns, so that wide stores can write them."""

PADDING = 64
"""Columns are padded to a multiple of this, which suits tensor cores."""


@dataclass(frozen=True)
class InputColumns:
    """Where each part of the inputs stands; columns between the parts are zero."""

    window: slice
    """One-hot codes, cell by cell: the materials but for grass, friend, stranger, and the kinds of NPCs."""
    one: int
    """Always 1: its row of weights is the layer's bias."""
    own: slice
    """``SELF_FEATURES``, scaled."""
    entities: slice
    """``DESCRIBED``, row by row of the entity table, scaled."""
    attributes: slice
    """Those of ``nmmo_gpu.train.features``; empty without them."""
    width: int
    """Columns in all."""

    @classmethod
    def of(cls, config: WorldConfig) -> InputColumns:
        """The columns for these rules."""
        window = config.window**2 * (codes(config) - 1)
        one = _aligned(window, ALIGNMENT)
        own = one + 1 + len(SELF_FEATURES)
        entities = own + config.nearest * len(DESCRIBED)
        first = _aligned(entities, ALIGNMENT)
        attributes = 0
        if config.extended:
            attributes = features.self_attributes_width(config)
            attributes += config.nearest * features.entity_attributes_width(config)
        return cls(
            slice(0, window), one, slice(one + 1, own), slice(own, entities),
            slice(first, first + attributes), _aligned(first + attributes, PADDING),
        )  # fmt: skip


def _aligned(columns: int, multiple: int) -> int:
    return -(-columns // multiple) * multiple


def own_state(views: dict[str, Tensor], scale: Tensor) -> Tensor:
    """[..., features] float32: own state, scaled to about -0.5 ... 0.5.

    Args:
        views: fields of records. scale: [2, features], factor, and centre to take off before."""
    return ((views["self"] - scale[1]) * scale[0]).clamp(max=1.0)  # age grows without bound


def entity_rows(views: dict[str, Tensor], scale: Tensor) -> Tensor:
    """[..., nearest, described] float32: the entity table, scaled to about -1 ... 1.

    Rows that do not exist are zero, and stay so; the two kinds' columns act as the others' bias.

    Args:
        views: fields of records. scale: [features] factors."""
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
    """[P, B, columns] of ``dtype``: the inputs of ``records[index]``, by ``InputColumns``.

    Args:
        records: [rows, bytes] uint8. index: [P, B] int64: the rows that each population looks at.
        own_scale: as for ``own_state``. entity_scale: as for ``entity_rows``.
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
