"""What a network is shown of an observation: codes, numbers and columns, how many and where.

Shared by the network (``nmmo_gpu.train``) and by the compiled loops and kernels that make its inputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import SKILLS, Material
from nmmo_gpu.world.observation_layout import ENTITY_ATTRIBUTES, ENTITY_FEATURES, SELF_FEATURES

CODES = len(Material) + 2
"""Rows of the window embedding's table per cell, where there are no NPCs: one per material, then friend and
stranger. An empty cell adds nothing, and neither does grass: a cell has always one material, so what grass
would add can stand in the bias."""

FIRST_OCCUPANT = len(Material) - 1
"""Added to an occupant's kind (1, 2 and further) gives its row of the table."""

LEVEL_LOG2, GOLD_LOG2 = 4, 10
"""Levels of 15, and 1023 gold, come out as 1."""
HEALTH = SELF_FEATURES.index("health")
THEIR_HEALTH = ENTITY_FEATURES.index("health")
RANKS = slice(ENTITY_ATTRIBUTES.index("sword"), ENTITY_ATTRIBUTES.index("armor") + 1)
"""Columns of what is worn."""

DESCRIBED = (*ENTITY_FEATURES, "friend", "stranger")
"""What the network is told of each row of the entity table."""

ALIGNMENT = 16
"""Parts of the matrix begin at a multiple of this many columns, so that wide stores can write them."""

PADDING = 64
"""Columns are padded to a multiple of this, which suits tensor cores."""


def codes(config: WorldConfig) -> int:
    """Rows of the table per cell: ``CODES``, then one per kind of NPC."""
    return CODES + npc_kinds(config)


def npc_kinds(config: WorldConfig) -> int:
    """How many kinds of NPCs there are to be seen."""
    return len(config.content.npcs) if config.npcs else 0


def self_attributes_width(config: WorldConfig) -> int:
    """Columns of ``nmmo_gpu.train.features.self_attributes``."""
    items = len(config.content.items)
    return len(SKILLS) + 1 + 2 + 2 * items + 4 + items + 3 * items


def entity_attributes_width(config: WorldConfig) -> int:
    """Columns of ``nmmo_gpu.train.features.entity_attributes``, per row of the entity table."""
    return npc_kinds(config) + 6 + max(0, config.tokens - 1) + 1


def attributes_width(config: WorldConfig) -> int:
    """Columns of ``nmmo_gpu.train.features.encode_features``: own attributes, then those of all rows."""
    return self_attributes_width(config) + config.nearest * entity_attributes_width(config)


def split(about_all: Tensor, config: WorldConfig) -> tuple[Tensor, Tensor]:
    """(all of it [..., n], and the looks among it [..., nearest, m])."""
    about_others = about_all[..., self_attributes_width(config) :]
    return about_all, torch.unflatten(about_others, -1, (config.nearest, entity_attributes_width(config)))


def log2_scale(values: Tensor, many: int) -> Tensor:
    """float32: 0 for 0, 1 for about 2 ** many."""
    return torch.log2(values.float() + 1.0) / many


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
        attributes = attributes_width(config) if config.extended else 0
        return cls(
            slice(0, window), one, slice(one + 1, own), slice(own, entities),
            slice(first, first + attributes), _aligned(first + attributes, PADDING),
        )  # fmt: skip


def _aligned(columns: int, multiple: int) -> int:
    return -(-columns // multiple) * multiple
