"""Death fog: it closes in on the middle of the map, and harms all agents in it.

nmmo-gpu train chaos --system examples/systems/death_fog.py:DeathFog --death-fog.damage 2
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from nmmo_gpu.systems import Bounds, ObservationSpec, System, World, WorldConfig, harm, phase

FAR = 127


@dataclass(frozen=True)
class DeathFog(System):
    """The clear area is a square around the middle of the map. It shrinks until ``radius``, then opens
    again."""

    period: Annotated[int, Bounds(ge=2, le=100_000)] = 1000
    """Ticks from one opening to the next."""
    radius: Annotated[int, Bounds(ge=1)] = 8
    """Least distance of the fog from the middle, tiles."""
    damage: Annotated[int, Bounds(ge=1, le=127)] = 1
    """Health that an agent in the fog loses per tick."""
    grace: Annotated[int, Bounds(ge=0)] = 30
    """Age up to which the fog does not harm an agent, ticks."""

    counters = ("agents harmed", "agents killed")

    def observation(self, config: WorldConfig) -> dict[str, ObservationSpec]:
        about = "tiles to the fog, negative in it, clipped"
        return {"distance": ObservationSpec(about, torch.int8, low=-FAR, high=FAR)}

    def clear_radius(self, world: World) -> Tensor:
        """[1] int64: distance of the fog from the middle, tiles."""
        largest = max(world.config.height, world.config.width) // 2
        from_half = (2 * (world.tick % self.period) - self.period).abs()  # period, 0, period
        return self.radius + from_half * max(0, largest - self.radius) // self.period

    def distance(self, world: World) -> Tensor:
        """[R, A] int64: tiles from each agent to the fog, 0 or less for agents in it."""
        rows = (world.agents(world.row) - world.config.height // 2).abs()
        cols = (world.agents(world.col) - world.config.width // 2).abs()
        return self.clear_radius(world) - torch.maximum(rows, cols)

    @phase(before="loot")
    def choke(self, world: World) -> None:
        inside = world.agents(world.alive) & (self.distance(world) <= 0)
        harmed = inside & (world.agents(world.age) > self.grace) & (world.agents(world.health) > 0)
        harm(world, harmed * self.damage)
        self.count(world, "agents harmed", harmed)
        self.count(world, "agents killed", harmed & (world.agents(world.health) == 0))

    def observe(self, world: World) -> dict[str, Tensor]:
        return {"distance": self.distance(world).clamp(-FAR, FAR)}
