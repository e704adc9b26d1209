"""A system that adds fields of every dtype to the observation, and a head; for tests of recordings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from nmmo_gpu.systems import ActionSpec, Bounds, ObservationSpec, System, World, WorldConfig

LIGHT = 200
"""Full daylight."""


@dataclass(frozen=True)
class Senses(System):
    """Each agent observes the light, which differs between agents, and where it has been in some units."""

    period: Annotated[int, Bounds(ge=2, le=100)] = 8
    """Ticks from one noon to the next."""
    head: bool = True
    """Whether it adds the head."""

    def observation(self, config: WorldConfig) -> Mapping[str, ObservationSpec]:
        return {
            "light": ObservationSpec("light, of 200", high=LIGHT, light=True),
            "place": ObservationSpec("row, minus column, age", torch.int16, (3,), -9999, 9999),
            "lean": ObservationSpec("hunger and thirst below zero", torch.int8, (2, 1), -100, 0),
            "even": ObservationSpec("whether the tick and the slot are even together", torch.bool),
        }

    def actions(self, config: WorldConfig) -> Mapping[str, ActionSpec]:
        return {"nod": ActionSpec(3, "nothing, yes or no")} if self.head else {}

    def observe(self, world: World) -> Mapping[str, Tensor]:
        row, col, age, food, water = (
            world.agents(getattr(world, name)).int() for name in ("row", "col", "age", "food", "water")
        )
        slot = torch.arange(row.shape[1], dtype=torch.int64, device=row.device)
        light = (2 * (world.tick % self.period) - self.period).abs() * LIGHT // self.period
        return {
            "light": (light - slot % 3).clamp(min=0),
            "place": torch.stack((row, -col, age), -1),
            "lean": -torch.stack((food, water), -1)[..., None],
            "even": (world.tick + slot) % 2 == 0,
        }
