"""Regrowth: depleted tiles return to their base material."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.world.random import Stream, draw
from nmmo_gpu.world.regrowth_table import NEVER, waiting_ticks
from nmmo_gpu.world.state import World

TICK_MASK = 0x7FFFFFFF
"""``regrow_at`` holds the low 31 bits of a tick: waits are short, so comparing for equality is enough."""


def regrowth(world: World) -> None:
    """Restores the base material of every tile whose tick of regrowth is now."""
    now = (world.tick & TICK_MASK).int()
    back = (world.regrow_at.view(-1) == now).nonzero().squeeze(1)
    world.material.view(-1)[back] = world.base.reshape(-1)[back]
    world.regrow_at.view(-1)[back] = NEVER


def schedule(world: World, tile: Tensor, chance: float | None = None) -> None:
    """Draws the tick of regrowth of tiles that have just been depleted.

    "Each tick with probability p" and "after a geometric waiting time, drawn once" have the same
    distribution; the second needs one draw per depleted tile instead of one per depleted tile and tick.

    Args:
        tile: [k] int64, all different; index into a flattened [R, H, W] plane.
        chance: per tick; by default ``regrowth``, that of forest.
    """
    cfg = world.config
    chance = cfg.regrowth if chance is None else chance
    if chance == 0.0 or not tile.numel():
        return
    area = cfg.height * cfg.width
    word = draw(world.seed, world.tick, Stream.REGROW, tile // area, tile % area)[0]
    due = (world.tick + waiting_ticks(word, chance)) & TICK_MASK
    world.regrow_at.view(-1)[tile] = due.to(torch.int32)


def due(world: World) -> Tensor:
    """[R, H, W] bool: tiles that the next ``regrowth`` restores."""
    return world.regrow_at == (world.tick & TICK_MASK).int()


def postpone(world: World, tiles: Tensor, word: Tensor) -> None:
    """Draws another waiting time, with the chance of forest, for tiles that would regrow in this tick.

    For systems in a phase before regrowth. Runs without a device sync.

    Args:
        world: changed in place.
        tiles: [R, H, W] bool, some of those that are ``due``.
        word: [R, H, W] int64, random 32-bit words of these tiles."""
    due = (world.tick + waiting_ticks(word, world.config.regrowth)) & TICK_MASK
    world.regrow_at.copy_(torch.where(tiles, due.to(torch.int32), world.regrow_at))
