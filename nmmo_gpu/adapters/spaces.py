"""Gymnasium spaces of one agent's observations and actions, and observations in the form of these spaces."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import GEAR, Material
from nmmo_gpu.content.tables import LEVELS
from nmmo_gpu.world.actions import action_heads
from nmmo_gpu.world.observation_layout import (
    ENTITY_ATTRIBUTES,
    ENTITY_FEATURES,
    GOODS_FEATURES,
    NPC,
    OFFER_FEATURES,
    OFFER_SIDES,
    SELF_FEATURES,
    STRANGER,
    ObservationField,
    ObservationLayout,
)

BYTE, SHORT = torch.iinfo(torch.int8).max, torch.iinfo(torch.int16).max
"""Limits at which numbers without a natural bound are clipped."""


def observation_space(config: WorldConfig) -> Dict:
    """The observation space of one slot: an entry for every field of ``ObservationLayout``, of its shape;
    numbers without a shape, which systems can have, are of shape [1], because Stable-Baselines3 and others
    refuse a Box without one.

    Masks and other bool fields are MultiBinary, or Discrete(2) if they have no shape, as ``alive``; all other
    fields are Boxes of the field's dtype, with bounds from the rules and from what systems declare. The zeros
    of an empty slot are within the bounds."""
    layout = ObservationLayout(config)
    of_systems = {name: (spec.low, spec.high) for name, spec in layout.system_fields.items()}
    bounds, fields = _bounds(config) | of_systems, layout.fields
    return Dict({name: _space(field, *bounds.get(name, (0, 1))) for name, field in fields.items()})


def action_space(config: WorldConfig) -> MultiDiscrete[np.int64]:
    """The action space of one agent: one choice per head (``nmmo_gpu.world.actions.action_heads``), in
    order."""
    return MultiDiscrete(list(action_heads(config).values()))


def shaped(views: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gives observations the shapes of ``observation_space``, without copies.

    Args:
        views: ``name -> [..., *shape]``, as ``ObservationLayout.views`` returns them.

    Returns:
        The same, but numbers without a shape are [..., 1]."""
    plain = views["alive"].dim()
    return {
        name: view[..., None] if view.dim() == plain and view.dtype != torch.bool else view
        for name, view in views.items()
    }


def arrays(views: dict[str, Tensor]) -> dict[str, Any]:
    """Converts observations to elements of ``observation_space``, or batches of them.

    Args:
        views: ``name -> [..., *shape]``, as ``ObservationLayout.views`` returns them, on the CPU.

    Returns:
        ``name -> [..., *shape]`` arrays over the same memory: masks as int8, numbers as they are, [..., 1] if
            they have no shape. Only bools without a shape, such as ``alive``, are copied, to int64: an array,
            or a scalar for one agent alone.
    """
    plain = views["alive"].dim()
    named: dict[str, Any] = {}
    for name, view in shaped(views).items():
        array = view.numpy()
        if view.dtype == torch.bool:
            array = array.view(np.int8) if view.dim() > plain else array.astype(np.int64)[()]
        named[name] = array
    return named


def _space(field: ObservationField, low: Any, high: Any) -> Box[Any] | Discrete[Any] | MultiBinary:
    if field.dtype == torch.bool:
        return MultiBinary(field.shape) if field.shape else Discrete(2)
    dtype = torch.empty(0, dtype=field.dtype, device="cpu").numpy().dtype
    low, high = (np.broadcast_to(bound, field.shape or (1,)).astype(dtype) for bound in (low, high))
    return Box(low, high, dtype=dtype)


def _bounds(config: WorldConfig) -> dict[str, tuple[Any, Any]]:
    """``name -> (low, high)`` of every field that holds numbers: one for the field, or one per column."""
    content, see = config.content, config.vision
    npcs = content.npcs if config.npcs else ()
    kind = NPC + len(npcs) - 1 if npcs else STRANGER
    agent_health = LEVELS if config.skills else config.max_health
    max_health = max([agent_health, *(npc.health for npc in npcs)])
    body = {"food": config.max_food, "water": config.max_water, "freeze": config.freeze_ticks - 1}
    own = {
        **body, "age": SHORT, "health": agent_health, "row": config.height - 1, "col": config.width - 1,
        "damage": SHORT, "immune": 1, "population": config.populations - 1, "heading_row": 1,
        "heading_col": 1,
    }  # fmt: skip
    entity = {
        **body, "row_offset": see, "col_offset": see, "age": BYTE, "health": max_health, "damage": BYTE,
    }  # fmt: skip
    look = {
        "npc_kind": len(npcs), "combat_level": BYTE, "token": max(config.tokens - 1, 0), "immune": 1,
        "max_health": max_health, **dict(zip(GEAR, map(len, config.tables.gear), strict=True)),
    }  # fmt: skip
    offer = {"side": OFFER_SIDES - 1, "item": len(content.items), "price": len(content.prices)}
    return {
        "self": _columns(SELF_FEATURES, own, {"heading_row": -1, "heading_col": -1}),
        "entities": _columns(ENTITY_FEATURES, entity, {"row_offset": -see, "col_offset": -see}),
        "entity_attributes": _columns(ENTITY_ATTRIBUTES, look),
        "levels": (0, LEVELS),
        "goods": _columns(GOODS_FEATURES, {"gold": SHORT, "room": config.capacity}),
        "inventory": (0, SHORT),
        "offer": _columns(OFFER_FEATURES, {**offer, "ticks_left": config.offer_ticks}),
        "market": (0, len(content.prices)),
        "entity_kind": (0, kind),
        "material": (0, max(Material)),
        "occupant": (0, kind),
    }


def _columns(
    names: tuple[str, ...], high: dict[str, int], low: dict[str, int] | None = None
) -> tuple[list[int], list[int]]:
    """(low, high) in the order of the names; low is 0 by default."""
    return [(low or {}).get(name, 0) for name in names], [high[name] for name in names]
