"""Scales of the network's inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.world.observation_layout import ENTITY_FEATURES, SELF_FEATURES


def _usual_health(config: WorldConfig) -> int:
    """Returns the health that is scaled to 1. It is doubled with levels, which raise health, and with NPCs,
    some of which have more."""
    return 2 * config.max_health if config.skills or config.npcs else config.max_health


def self_scale(config: WorldConfig) -> Tensor:
    """Returns [2, features] float32: a factor, and a center to subtract first, which scale own features to
    about -0.5 ... 0.5.

    Headings have center 0 and positions the middle of the map, so that they can be rotated."""
    largest = {
        "age": 200, "health": _usual_health(config), "food": config.max_food, "water": config.max_water,
        "row": config.height - 1, "col": config.width - 1, "freeze": config.freeze_ticks,
        "damage": config.max_health, "immune": 1, "population": config.populations,
    }  # fmt: skip
    side = max(config.height, config.width)
    size = largest | {"row": side, "col": side, "heading_row": 1, "heading_col": 1}
    factor = [1.0 / size[name] for name in SELF_FEATURES]
    center = [largest.get(name, 0) / 2 for name in SELF_FEATURES]
    return torch.tensor([factor, center], dtype=torch.float32, device="cpu")


def entity_scale(config: WorldConfig) -> Tensor:
    """Returns [features] float32: factors that scale the entity table to about -1 ... 1."""
    largest = {
        "age": 127, "health": _usual_health(config), "food": config.max_food, "water": config.max_water,
        "freeze": config.freeze_ticks, "damage": config.max_health,
    }  # fmt: skip
    return torch.tensor(
        [1.0 / largest.get(name, config.vision) for name in ENTITY_FEATURES],
        dtype=torch.float32,
        device="cpu",
    )
