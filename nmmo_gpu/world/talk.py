"""Talk: one token per tick, observed by all agents that see the speaker."""

from __future__ import annotations

from torch import Tensor

from nmmo_gpu.world.events import Event
from nmmo_gpu.world.state import World


def talk(world: World, token: Tensor) -> None:
    """Stores the agents' tokens, which are observed at the end of the tick. Runs without a device sync.

    Args:
        token: [R, A] integers, 0 (silence) to ``tokens`` - 1.
    """
    spoken = token * world.agents(world.alive)
    world.token.copy_(spoken)
    world.events[..., Event.SPOKEN] += spoken > 0
