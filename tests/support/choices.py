"""Random choices for all action heads of the full game, including invalid ones and those of dead agents."""

from __future__ import annotations

import torch
from support.helpers import random_orders

from nmmo_gpu.world.actions import MORE_HEADS, Choices, action_heads
from nmmo_gpu.world.state import World


def random_choices(world: World, random: torch.Generator) -> Choices:
    """Returns random choices for every agent slot: moves and attacks of ``helpers.random_orders``, also
    against NPCs, and uniform choices for the other heads in use. Three in four trades are in a few items, so
    that offers match."""
    move, style, target = (world.agents(part).contiguous() for part in random_orders(world, random))
    shape = tuple(world.agents(world.alive).shape)
    sizes = action_heads(world.config)
    others = {
        name: torch.randint(size, shape, generator=random)
        for name, size in sizes.items()
        if name in MORE_HEADS
    }
    if "trade" in others:
        items = len(world.config.tables.items)
        side, item = (torch.randint(n, shape, generator=random) for n in (2, 3))
        usual = torch.randint(4, shape, generator=random) > 0
        others["trade"] = torch.where(usual, side * items + 1 + item, others["trade"])
    return Choices(move, style, target, **others)
