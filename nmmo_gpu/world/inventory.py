"""What an agent can carry."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.world.state import World
from nmmo_gpu.world.tables import tensor


def weights(world: World) -> Tensor:
    """[items] int32: units of an inventory that one of each item takes."""
    return tensor(world.config.tables.weight, world.device, torch.int32)


def held(world: World) -> Tensor:
    """[R, A] int32: units in each inventory."""
    return (world.inventory * weights(world)).sum(-1, dtype=torch.int32)


def reserved(world: World) -> Tensor:
    """[R, A] int32: units kept free for the open offer, 0 or 1: for what a buyer will get, and for what a
    seller gets back if nobody buys."""
    items = world.inventory.shape[-1]
    if items == 0:
        return torch.zeros_like(world.offer, dtype=torch.int32)
    item = (world.offer.long() - 1) % items  # without an offer any item: not asked for
    return torch.where(world.offer > 0, weights(world)[item], 0)


def room(world: World) -> Tensor:
    """[R, A] int32: units that each agent can still take; those reserved for its offer are not counted."""
    return world.config.capacity - held(world) - reserved(world)
