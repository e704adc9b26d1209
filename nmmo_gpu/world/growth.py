"""Growth: levels are computed from experience, agents wear the best gear that they can use, and stacks of
items without weight are limited."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.content import DEFENSE, MELEE, RANGE
from nmmo_gpu.content.tables import experience_table, tensor
from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.state import MAX_EXPERIENCE, MAX_STACK, World

GEAR_SKILLS = (MELEE, RANGE, DEFENSE)
"""The skill whose level limits which sword, knife or armor can be worn."""


def growth(world: World) -> None:
    """Sets level and worn gear of every living agent, for the next tick."""
    cfg = world.config
    living = world.agents(world.alive)
    level = world.agents(world.level)
    if cfg.skills:
        xp = torch.where(living[..., None], world.xp.clamp(max=MAX_EXPERIENCE), world.xp)
        world.xp.copy_(xp)
        reached = torch.where(living[..., None], levels_of(xp), level.int())
        world.events[..., Event.LEVELS] += (reached - level.int()).clamp_(min=0).sum(-1, dtype=torch.int32)
        level.copy_(reached)

    world.worn.copy_(torch.where(living[..., None], best_gear(world), world.worn))
    limit_stacks(world, living)


def levels_of(xp: Tensor) -> Tensor:
    """[...] int32: the levels that an experience ([...] int32) gives."""
    thresholds = tensor(experience_table(), xp.device, torch.int32)
    return torch.searchsorted(thresholds, xp, right=True, out_int32=True)


def best_gear(world: World) -> Tensor:
    """[R, A, 3] uint8: rank of the best sword, knife and armor that each agent holds and can use."""
    tables, level = world.config.tables, world.agents(world.level)
    best = torch.zeros_like(world.worn)
    for place, (items, levels) in enumerate(zip(tables.gear, tables.gear_level, strict=True)):
        skill = level[..., GEAR_SKILLS[place]]
        for rank, (item, needed) in enumerate(zip(items, levels, strict=True), 1):
            best[..., place][(world.inventory[..., item] > 0) & (skill >= needed)] = rank
    return best


def limit_stacks(world: World, living: Tensor) -> None:
    """Drops what living agents hold of an item without weight above ``MAX_STACK``; it is lost."""
    for item in world.config.tables.weightless:
        excess = (world.inventory[..., item].clamp(min=MAX_STACK) - MAX_STACK).masked_fill_(~living, 0)
        world.inventory[..., item] -= excess
        world.ledger[:, item, Flow.LOST] += excess.sum(1)
