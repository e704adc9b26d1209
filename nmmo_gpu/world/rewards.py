"""Reward terms in addition to survival: what agents gain for their actions in a tick."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.config import EnvConfig
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world.events import Event
from nmmo_gpu.world.reward_functions import RewardFunctions
from nmmo_gpu.world.state import World


class RewardTerms:
    """Adds the rewards weighted by an EnvConfig (``reward_...``), and those of functions and systems. Terms
    of weight 0 are not computed."""

    def __init__(self, config: EnvConfig, world: World) -> None:
        """Starts from the current world; ConfigError for a weight on events that its rules do not have."""
        weights = {
            "experience": config.reward_experience, "level": config.reward_level, "gold": config.reward_gold,
            "kill": config.reward_kill, "trade": config.reward_trade, "tile": config.reward_tile,
        }  # fmt: skip
        self.weights = {name: weight for name, weight in weights.items() if weight}
        self.death = config.reward_death
        world_config = config.world
        available = {
            "experience": world_config.skills, "level": world_config.skills, "gold": world_config.extended,
            "kill": world_config.extended, "trade": world_config.exchange, "tile": True,
        }  # fmt: skip
        for name in self.weights:
            if not available[name]:
                raise ConfigError(
                    f"reward_{name} = {self.weights[name]} rewards events that these rules do not have; "
                    "choose preset full, or 0."
                )
        self.before: dict[str, Tensor] = {}
        self.functions = RewardFunctions(config, world)
        self.begin(world)

    @torch.inference_mode(False)
    def begin(self, world: World) -> None:
        """Starts counting from the current world."""
        self.before = {name: _score(world, name).clone() for name in self.weights}
        self.functions.begin(world)

    def add(self, world: World, acting: Tensor, died: Tensor, reward: Tensor) -> None:
        """Adds this tick's rewards.

        Args:
            world: after the tick.
            acting: [R, A] bool, agents alive at the start of the tick.
            died: [R, A] bool, those of them that died in it.
            reward: [R, A] float32, added to in place. Agents that died get the rewards of the tick, except
                for gold, because they lose it at death.
        """
        for name, weight in self.weights.items():
            score = _score(world, name)
            gained = score - self.before[name]
            counts = acting & ~died if name == "gold" else acting
            reward += torch.where(counts, gained.to(torch.float32), 0.0) * weight
            self.before[name].copy_(score)
        if self.death:
            reward += died.to(torch.float32) * self.death
        self.functions.add(world, acting, reward)


def _score(world: World, name: str) -> Tensor:
    """[R, A] int: the weighted quantity, so far in the life of each slot's agent."""
    if name == "experience":
        return world.xp.sum(2, dtype=torch.int64)
    if name == "level":
        return world.events[..., Event.LEVELS]
    if name == "gold":
        return world.gold
    if name == "kill":
        kills = world.events[..., Event.AGENTS_KILLED]
        return kills + world.events[..., len(Event) :].sum(2, dtype=torch.int32)
    if name == "trade":
        return world.events[..., Event.SOLD] + world.events[..., Event.BOUGHT]
    assert name == "tile", name
    return world.explored
