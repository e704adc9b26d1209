"""Day and night: at night agents see less far, and each observes the light.

nmmo-gpu train chaos --system examples/systems/daylight.py:Daylight --daylight.period 200
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from nmmo_gpu.systems import (
    Bounds,
    ObservationSpec,
    StateSpec,
    System,
    World,
    WorldConfig,
    limit_sight,
    phase,
    refuse,
)  # fmt: skip

FULL = 100


@dataclass(frozen=True)
class Daylight(System):
    """The light rises and falls linearly. Vision shrinks with it, from the rules' ``vision`` to ``night``."""

    period: Annotated[int, Bounds(ge=2, le=10_000)] = 200
    """Ticks from one noon to the next."""
    night: Annotated[int, Bounds(ge=1, le=15)] = 3
    """Tiles that an agent sees at midnight."""

    def validate(self, config: WorldConfig) -> None:
        if self.night > config.vision:
            refuse(self, "night", f"is above vision = {config.vision}", "choose a smaller one")

    def state(self, config: WorldConfig) -> dict[str, StateSpec]:
        return {"light": StateSpec("R", torch.uint8, "light in percent", high=FULL, fill=FULL)}

    def observation(self, config: WorldConfig) -> dict[str, ObservationSpec]:
        return {"light": ObservationSpec("light in percent", high=FULL, light=True)}

    @phase(after="burial")
    def turn(self, world: World) -> None:
        time = (world.tick + 1) % self.period
        from_midnight = (2 * time - self.period).abs()
        self.own(world)["light"].copy_(from_midnight * FULL // self.period)

    def observe(self, world: World) -> dict[str, Tensor]:
        return {"light": self.own(world)["light"][:, None]}

    def edit_observation(self, world: World, fields: dict[str, Tensor]) -> None:
        range_ = world.config.vision - self.night
        sight = self.night + self.own(world)["light"].int() * range_ // FULL
        limit_sight(fields, sight[:, None])

    def scalars(self, world: World) -> dict[str, Tensor]:
        return {"light": self.own(world)["light"].float()}
