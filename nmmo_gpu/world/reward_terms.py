"""The reward terms of an EnvConfig: functions of the world after a tick and of what it was before, as users
write them (``nmmo_gpu.world.rewards``). Each returns [R, A] float32."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.world.before import Before
from nmmo_gpu.world.events import Event
from nmmo_gpu.world.state import World


def experience(world: World, before: Before) -> Tensor:
    """Experience gained, in all skills."""
    return (world.xp - before.xp).sum(2).float()


def level(world: World, before: Before) -> Tensor:
    """Levels gained."""
    return (world.events[..., Event.LEVELS] - before.events[..., Event.LEVELS]).float()


def gold(world: World, before: Before) -> Tensor:
    """Gold gained, negative for gold spent; 0 for agents that died, because they lose it at death."""
    gained = (world.gold - before.gold).float()
    return torch.where(world.agents(world.cause) == 0, gained, 0.0)


def kill(world: World, before: Before) -> Tensor:
    """Agents and NPCs killed."""
    killed = world.events - before.events
    return (killed[..., Event.AGENTS_KILLED] + killed[..., len(Event) :].sum(2)).float()


def trade(world: World, before: Before) -> Tensor:
    """Trades, of buyers and of sellers."""
    made = world.events - before.events
    return (made[..., Event.SOLD] + made[..., Event.BOUGHT]).float()


def tile(world: World, before: Before) -> Tensor:
    """Tiles visited for the first time."""
    return (world.explored - before.explored).float()


def death(world: World, before: Before) -> Tensor:
    """1 at death."""
    return (world.agents(world.cause) != 0).float()


TERMS: dict[str, tuple[Callable[[World, Before], Tensor], Callable[[WorldConfig], bool]]] = {
    "experience": (experience, lambda config: config.skills),
    "level": (level, lambda config: config.skills),
    "gold": (gold, lambda config: config.extended),
    "kill": (kill, lambda config: config.extended),
    "trade": (trade, lambda config: config.exchange),
    "tile": (tile, lambda config: True),
    "death": (death, lambda config: True),
}
"""Function of each ``EnvConfig.reward_<name>``, and whether rules have what it rewards."""
