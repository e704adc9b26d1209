"""Harm that systems do to agents."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.world.state import Cause, World


def harm(world: World, damage: Tensor) -> None:
    """Reduces the health of living agents. Those whose health becomes 0 die in this tick, of ``Cause.OTHER``.

    Call it in a phase before loot. NPCs, and the limits of combat (immunity of the young), are not
    considered.

    Args:
        world: changed in place.
        damage: integers of at least 0, of a shape that broadcasts to [R, A]."""
    health = world.agents(world.health)
    able = world.agents(world.alive) & (health > 0)
    left = torch.where(able, (health - damage).clamp_(min=0), health)
    dies = able & (left == 0)
    health.copy_(left)
    cause = world.agents(world.cause)
    cause.copy_(torch.where(dies, int(Cause.OTHER), cause))
