"""A flag to carry: each tick, the population whose agent carries it scores a point.

nmmo-gpu train chaos --system examples/systems/flag.py:Flag --flag.reward-carry 0.5
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nmmo_gpu.systems import ActionSpec, ObservationSpec, StateSpec, System, World, WorldConfig, phase


@dataclass(frozen=True)
class Flag(System):
    """Each realm has a flag, at first in the middle of the north side, where agents are born. The agent on
    its tile takes it, and can drop it. If the agent dies, the flag returns to its first place."""

    reward_carry: float = 1.0
    """Reward per tick of the agent that carries the flag."""

    counters = ("flags taken",)

    def state(self, config: WorldConfig) -> dict[str, StateSpec]:
        far = max(config.height, config.width) - 1
        return {
            "place": StateSpec("R 2", torch.int32, "row and column of the flag", low=0, high=far),
            "carrier": StateSpec("R", torch.int64, "slot of its carrier, -1 for none", low=-1, fill=-1),
            "score": StateSpec(f"R {config.populations}", torch.int64, "points of each population", low=0),
        }

    def observation(self, config: WorldConfig) -> dict[str, ObservationSpec]:
        far = max(config.height, config.width)
        offset = ObservationSpec("tiles south and east to the flag", torch.int16, (2,), low=-far, high=far)
        return {"offset": offset, "carrying": ObservationSpec("the agent carries the flag", torch.bool)}

    def actions(self, config: WorldConfig) -> dict[str, ActionSpec]:
        return {"flag": ActionSpec(2, "keep the flag, drop it")}

    def begin(self, world: World) -> None:
        self.return_home(world, self.own(world)["carrier"] < 0)

    def return_home(self, world: World, realms: Tensor) -> None:
        """Returns the flags of some realms, [R] bool, to their first places."""
        place = self.own(world)["place"]
        place[:, 0].masked_fill_(realms, world.config.border)
        place[:, 1].masked_fill_(realms, world.config.width // 2)

    def carries(self, world: World) -> Tensor:
        """[R, A] bool: the agent carries the flag."""
        slots = torch.arange(world.config.slots, dtype=torch.int64, device=world.device)
        return slots == self.own(world)["carrier"][:, None]

    @phase(after="movement")
    def carry(self, world: World, flag: Tensor) -> None:
        own = self.own(world)
        here = torch.stack((world.agents(world.row), world.agents(world.col)), -1)
        able = world.agents(world.alive) & (world.agents(world.health) > 0)
        self.return_home(world, (self.carries(world) & ~able).any(1))
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
        return {"offset": self.own(world)["place"][:, None] - here, "carrying": self.carries(world)}

    def masks(self, world: World) -> dict[str, Tensor]:
        return {"flag": self.carries(world)[..., None].expand(-1, -1, 2)}  # choice 0 is always possible

    def reward(self, world: World, before: object) -> Tensor:
        return self.carries(world) * self.reward_carry

    def scalars(self, world: World) -> dict[str, Tensor]:
        return {"carried": self.own(world)["carrier"] >= 0}
