"""Upkeep: the costs and gains of each tick for every living agent, including newborn agents."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.content import CONSTITUTION, Material
from nmmo_gpu.world.regrowth import schedule
from nmmo_gpu.world.state import MAX_AGE, VISITED_SIDE, Cause, World


def upkeep(world: World) -> None:
    """The seven steps of upkeep in docs/rules.md, in order, for agents with health above 0. For NPCs only the
    first and the last apply: freeze decreases, and age increases."""
    cfg = world.config
    agents = torch.arange(cfg.entities, device=world.device, dtype=torch.int64) < cfg.slots
    tile = world.tile()
    ground = world.material.view(-1)[tile].view_as(world.alive)
    well = world.alive & (world.health > 0)

    # 1. Freeze decreases; freezes by this tick's mages start here.
    frozen = torch.where(world.chilled, cfg.freeze_ticks, world.freeze)
    world.freeze.copy_(torch.where(well, (frozen - 1).clamp_(min=0), world.freeze))
    world.chilled.zero_()

    older = world.age < MAX_AGE
    world.age[:, cfg.slots :] += (well & older)[:, cfg.slots :]
    well &= agents

    # 2. Lava kills, and the remaining steps are skipped.
    burnt = well & (ground == Material.LAVA)
    world.cause[burnt] = Cause.LAVA
    well &= ~burnt

    # 3. Forage. A tile holds one agent, so no tile is eaten twice.
    eats = well & (ground == Material.FOREST)
    food = torch.where(eats, (world.food + cfg.forage).clamp_(max=cfg.max_food), world.food)
    eaten = tile[eats.view(-1)]
    world.material.view(-1)[eaten] = int(Material.SCRUB)
    schedule(world, eaten)

    # 4. Drink.
    drinks = well & world.shore.reshape(-1)[tile].view_as(well)
    water = torch.where(drinks, (world.water + cfg.forage).clamp_(max=cfg.max_water), world.water)

    # 5. Heal.
    heals = (food > cfg.heal_above) & (water > cfg.heal_above)
    health = torch.where(heals, torch.minimum(world.health + 1, max_health(world)), world.health)

    # 6. Hunger and thirst.
    water = (water - 1).clamp_(min=0)
    food = (food - 1).clamp_(min=0)
    health = (health - (food == 0).short() - (water == 0).short()).clamp_(min=0)

    world.food.copy_(torch.where(well, food, world.food))
    world.water.copy_(torch.where(well, water, world.water))
    world.health.copy_(torch.where(well, health, world.health))
    starved = well & (health == 0)
    world.cause[starved & (water == 0)] = Cause.THIRST
    world.cause[starved & (food == 0)] = Cause.HUNGER  # agents without both count as hungry

    # 7. Age. It is not incremented for agents that die, so it is the number of times the agent acted.
    world.age += well & ~starved & older


def max_health(world: World) -> Tensor:
    """[R, S] int16: the maximum health of each, which is an agent's level in constitution; [1] if it is the
    same for all."""
    cfg = world.config
    if cfg.skills:
        return world.level[..., CONSTITUTION].short()
    return torch.full((1,), cfg.max_health, dtype=torch.int16, device=world.device)


def explore(world: World) -> None:
    """Marks the tile of every living agent as visited, and counts it if it is new to the agent."""
    word = world.visited.view(-1, VISITED_SIDE)
    line = (world.agents(world.row).reshape(-1, 1) % VISITED_SIDE).long()
    before = word.gather(1, line)
    column = (world.agents(world.col).reshape(-1, 1) % VISITED_SIDE).long()
    bit = world.agents(world.alive).reshape(-1, 1).long() << column
    world.explored += ((before & bit) != bit).view_as(world.explored)
    word.scatter_(1, line, before | bit)
