"""A flag to carry: each tick, the population whose agent carries it scores a point.

nmmo-gpu train chaos --system examples/systems/flag.py:Flag --flag.reward-carry 0.5
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from nmmo_gpu.systems import ActionSpec, Bounds, ObservationSpec, StateSpec, System, World, WorldConfig, phase

FAR = 127


@dataclass(frozen=True)
class Flag(System):
    """There is one flag per realm. The agent on its tile takes it; it can drop it, and does so at death."""

    reward_carry: Annotated[float, Bounds(ge=0)] = 1.0
    """Reward per tick of the agent that carries the flag."""

    counters = ("flags taken",)

    def state(self, config: WorldConfig) -> dict[str, StateSpec]:
        size = max(config.height, config.width)
        return {
            "place": StateSpec("R 2", torch.int32, "row and column of the flag", low=0, high=size - 1),
            "carrier": StateSpec("R", torch.int64, "slot of its carrier, -1 for none", low=-1, fill=-1),
            "score": StateSpec(f"R {config.populations}", torch.int64, "points of each population", low=0),
        }

    def observation(self, config: WorldConfig) -> dict[str, ObservationSpec]:
        offset = "tiles south and east to the flag, clipped"
        return {
            "offset": ObservationSpec(offset, torch.int8, (2,), low=-FAR, high=FAR),
            "carrying": ObservationSpec("whether the agent carries the flag", torch.bool),
        }

    def actions(self, config: WorldConfig) -> dict[str, ActionSpec]:
        return {"flag": ActionSpec(2, "keep the flag, drop it")}

    def begin(self, world: World) -> None:
        middle = [[world.config.height // 2, world.config.width // 2]]
        self.own(world)["place"].copy_(torch.tensor(middle, dtype=torch.int32, device=world.device))

    def carries(self, world: World) -> Tensor:
        """[R, A] bool: the agent carries the flag."""
        slots = torch.arange(world.config.slots, dtype=torch.int64, device=world.device)
        return slots == self.own(world)["carrier"][:, None]

    @phase(after="movement")
    def carry(self, world: World, flag: Tensor) -> None:
        own = self.own(world)
        here = torch.stack((world.agents(world.row), world.agents(world.col)), -1)
        able = world.agents(world.alive) & (world.agents(world.health) > 0)
        carries = self.carries(world) & able & (flag == 0)
        moved = torch.where(carries[..., None], here, 0).sum(1)
        own["place"].copy_(torch.where(carries.any(1)[:, None], moved, own["place"]))
        takes = able & (here == own["place"][:, None]).all(-1) & ~carries.any(1, keepdim=True) & (flag == 0)
        carries |= takes
        own["carrier"].copy_(torch.where(carries.any(1), carries.to(torch.uint8).argmax(1), -1))
        self.count(world, "flags taken", takes)
        own["score"] += carries.view(len(carries), world.config.populations, -1).sum(2)

    def observe(self, world: World) -> dict[str, Tensor]:
        here = torch.stack((world.agents(world.row), world.agents(world.col)), -1)
        offset = (self.own(world)["place"][:, None] - here).clamp(-FAR, FAR)
        return {"offset": offset, "carrying": self.carries(world)}

    def masks(self, world: World) -> dict[str, Tensor]:
        carries = self.carries(world)
        return {"flag": torch.stack((torch.ones_like(carries), carries), -1)}

    def reward(self, world: World, before: object) -> Tensor:
        return self.carries(world) * self.reward_carry
