"""Settings of small runs with the systems of examples/systems."""

from __future__ import annotations

from typing import Any

from support.example_systems import Daylight, DeathFog, DenseRegrowth, Flag, TradeTax
from torch import Tensor
from train.small import FULL

from nmmo_gpu.world.state import World


def fed(world: World, before: Any) -> Tensor:
    """A reward function: what agents have eaten and drunk."""
    gained = world.food.int() + world.water - before.food - before.water
    return world.agents(gained).clamp(min=0).float()


EXAMPLES: dict[str, dict[str, Any]] = {
    "chaos": {
        "systems": (
            Daylight(period=6, night=2), DenseRegrowth(lowest=0.05),
            DeathFog(period=20, radius=2, damage=2, grace=0), Flag(reward_carry=0.5),
        ),
        "regrowth": 0.3, "reward": fed,
    },
    "full": {**FULL, "systems": (TradeTax(percent=40),)},
}  # fmt: skip
"""All examples, in two runs."""
