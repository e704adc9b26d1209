"""The layout of a network's inputs: codes, scales, and the number and position of columns.

The network (``nmmo_gpu.train``) shares it with the compiled loops and kernels that compute its inputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import SKILLS, Material
from nmmo_gpu.world.observation_layout import ENTITY_ATTRIBUTES, ENTITY_FEATURES, SELF_FEATURES

CODES = len(Material) + 2
"""Rows per cell of the window embedding's table, without NPCs: one per material, then friend and stranger.
An empty cell adds nothing to the sum. Neither does grass: a cell always has exactly one material, so the bias
can include the contribution of grass."""

FIRST_OCCUPANT = len(Material) - 1
"""Row of the table for an occupant of kind k (1, 2, ...) is ``FIRST_OCCUPANT + k``."""

LEVEL_LOG2, GOLD_LOG2 = 4, 10
"""Arguments of ``log2_scale``: a level of 15, and 1023 gold, are scaled to 1."""
HEALTH = SELF_FEATURES.index("health")
THEIR_HEALTH = ENTITY_FEATURES.index("health")
RANKS = slice(ENTITY_ATTRIBUTES.index("sword"), ENTITY_ATTRIBUTES.index("armor") + 1)
"""Columns of the ranks of worn gear."""

DESCRIBED = (*ENTITY_FEATURES, "friend", "stranger")
"""Input features of each row of the entity table."""

ALIGNMENT = 16
"""Parts of the matrix start at a multiple of this many columns, so that vectorized stores can write them."""

PADDING = 64
"""The number of columns is padded to a multiple of this, for tensor cores."""


def codes(config: WorldConfig) -> int:
    """Returns the number of rows of the table per cell: ``CODES``, and one per kind of NPC."""
    return CODES + npc_kinds(config)


def npc_kinds(config: WorldConfig) -> int:
    """Returns the number of kinds of NPCs; 0 without NPCs."""
    return len(config.content.npcs) if config.npcs else 0


def self_attributes_width(config: WorldConfig) -> int:
    """Returns the number of columns of ``nmmo_gpu.train.features.self_attributes``."""
    items = len(config.content.items)
    return len(SKILLS) + 1 + 2 + 2 * items + 4 + items + 3 * items


def entity_attributes_width(config: WorldConfig) -> int:
    """Returns the number of columns of ``nmmo_gpu.train.features.entity_attributes`` per row of the table."""
    return npc_kinds(config) + 6 + max(0, config.tokens - 1) + 1


def attributes_width(config: WorldConfig) -> int:
    """Returns the number of columns of ``nmmo_gpu.train.features.encode_features``: own attributes, then
    those of all rows."""
    return self_attributes_width(config) + config.nearest * entity_attributes_width(config)


def split(about_all: Tensor, config: WorldConfig) -> tuple[Tensor, Tensor]:
    """Returns (all attributes [..., n], the entity attributes among them [..., nearest, m])."""
    about_others = about_all[..., self_attributes_width(config) :]
    return about_all, torch.unflatten(about_others, -1, (config.nearest, entity_attributes_width(config)))


def log2_scale(values: Tensor, many: int) -> Tensor:
    """Scales values logarithmically, as float32: 0 to 0, and 2 ** many to about 1."""
    return torch.log2(values.float() + 1.0) / many


@dataclass(frozen=True)
class InputColumns:
    """The columns of each part of the inputs; columns between the parts are zero."""

    window: slice
    """One-hot codes, cell by cell: the materials except grass, friend, stranger, and the kinds of NPCs."""
    one: int
    """Always 1: its row of weights is the layer's bias."""
    own: slice
    """``SELF_FEATURES``, scaled."""
    entities: slice
    """``DESCRIBED``, row by row of the entity table, scaled."""
    attributes: slice
    """The attributes of ``nmmo_gpu.train.features``; empty without the full game."""
    width: int
    """Total number of columns."""

    @classmethod
    def of(cls, config: WorldConfig) -> InputColumns:
        """Returns the columns for these rules."""
        window = config.window**2 * (codes(config) - 1)
        one = _aligned(window, ALIGNMENT)
        own = one + 1 + len(SELF_FEATURES)
        entities = own + config.nearest * len(DESCRIBED)
        first = _aligned(entities, ALIGNMENT)
        attributes = attributes_width(config) if config.extended else 0
        return cls(
            slice(0, window), one, slice(one + 1, own), slice(own, entities),
            slice(first, first + attributes), _aligned(first + attributes, PADDING),
        )  # fmt: skip


def _aligned(columns: int, multiple: int) -> int:
    return -(-columns // multiple) * multiple
