"""Small systems for tests. All pass ``nmmo_gpu.systems.check_system``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from nmmo_gpu.systems import (
    ActionSpec,
    Bounds,
    ObservationSpec,
    StateSpec,
    System,
    World,
    WorldConfig,
    below,
    phase,
)  # fmt: skip

GALE = 300
"""Strongest wind."""


@dataclass(frozen=True)
class Flags(System):
    """Agents hold one of some flags, which a random wind moves, and are paid for raising another one.

    Has all that a system can have: a head with a mask, a field of each dtype, two of them with a shape, state
    per realm and per agent, random numbers, a counter, a scalar and a reward."""

    counters: ClassVar[tuple[str, ...]] = ("raised",)

    flags: Annotated[int, Bounds(ge=1, le=100)] = 3
    """Number of flags."""
    pay: float = 0.5
    """Reward for raising a flag."""
    windy: bool = True
    """Whether there is wind."""

    def state(self, config: WorldConfig) -> dict[str, StateSpec]:
        return {
            "held": StateSpec("R A", torch.int8, "flag, 0 for none", low=0, high=self.flags, at_birth=0),
            "wind": StateSpec("R 2", torch.int16, "wind to the south and east", low=-GALE, high=GALE),
        }

    def observation(self, config: WorldConfig) -> dict[str, ObservationSpec]:
        return {
            "held": ObservationSpec("own flag, 0 for none", high=self.flags),
            "none": ObservationSpec("no flag is held", torch.bool),
            "is_held": ObservationSpec("whether each flag is held", torch.bool, (self.flags,)),
            "drift": ObservationSpec("wind to the south", torch.int8, low=-1, high=1),
            "wind": ObservationSpec("wind to the south and east", torch.int16, (2,), -GALE, GALE),
        }

    def actions(self, config: WorldConfig) -> dict[str, ActionSpec]:
        return {"flag": ActionSpec(self.flags + 1, "0 nothing, k to raise flag k")}

    @phase(after="upkeep")
    def hoist(self, world: World, flag: Tensor) -> None:
        own, alive = self.own(world), world.agents(world.alive)
        raised = alive & (flag > 0) & (flag != own["held"])
        self.count(world, "raised", raised)
        own["held"].copy_(torch.where(raised, flag, own["held"]))
        if self.windy:
            words = self.draw(world, own["wind"])
            own["wind"].copy_(below(words[0], 2 * GALE + 1) - GALE)

    def observe(self, world: World) -> dict[str, Tensor]:
        held, wind = self.own(world)["held"], self.own(world)["wind"]
        flags = torch.arange(1, self.flags + 1, dtype=torch.int8, device=held.device)
        return {
            "held": held,
            "none": held == 0,
            "is_held": held[..., None] == flags,
            "drift": wind[:, :1].sign(),
            "wind": wind[:, None],
        }

    def masks(self, world: World) -> dict[str, Tensor]:
        """All flags but the one that is held."""
        held = self.own(world)["held"]
        choices = torch.arange(self.flags + 1, dtype=torch.int8, device=held.device)
        return {"flag": held[..., None] != choices}

    def reward(self, world: World, before: Any) -> Tensor:
        held = self.own(world)["held"]
        raised = (held != before.systems[self.name]["held"]) & (held > 0)
        return raised.to(torch.float32) * self.pay

    def scalars(self, world: World) -> dict[str, Tensor]:
        return {"held": (self.own(world)["held"] > 0).float().mean(1)}


@dataclass(frozen=True)
class Idle(System):
    """Adds nothing but a required setting."""

    size: Annotated[int, Bounds(ge=1)]
    """Has no effect."""


def paid_twice(world: World, before: Any) -> Tensor:
    """A reward function: 2 for each agent that has not just died."""
    return 2.0 * world.agents(world.alive).to(torch.float32)
