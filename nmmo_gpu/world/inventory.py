"""Inventories: what an agent can carry."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.content.tables import tensor
from nmmo_gpu.world.state import World


def weights(world: World) -> Tensor:
    """[items] int32: inventory units that one of each item takes."""
    return tensor(world.config.tables.weight, world.device, torch.int32)


def held(world: World) -> Tensor:
    """[R, A] int32: used units of each inventory."""
    return (world.inventory * weights(world)).sum(-1, dtype=torch.int32)


def reserved(world: World) -> Tensor:
    """[R, A] int32: units reserved for the open offer, 0 or 1: for the item that a buyer will get, or that a
    seller gets back if it is not sold."""
    items = world.inventory.shape[-1]
    if items == 0:
        return torch.zeros_like(world.offer, dtype=torch.int32)
    item = (world.offer.long() - 1) % items  # any item if there is no offer; the result is not used
    return torch.where(world.offer > 0, weights(world)[item], 0)


def room(world: World) -> Tensor:
    """[R, A] int32: free units of each inventory, without those reserved for an offer."""
    return world.config.capacity - held(world) - reserved(world)
