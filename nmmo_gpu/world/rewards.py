"""Rewards beside survival: the terms of an EnvConfig, functions of users, and those of systems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nmmo_gpu.config import EnvConfig, RewardFunction
from nmmo_gpu.config.systems import System
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world.before import Before, Reading
from nmmo_gpu.world.reward_terms import TERMS
from nmmo_gpu.world.state import World


class Rewards:
    """Adds the weighted terms of an EnvConfig (``reward_...``), its reward function, and the rewards of its
    systems. Terms of weight 0 are not computed."""

    def __init__(self, config: EnvConfig, world: World) -> None:
        """Starts from the current world. Raises ConfigError for a weight on events that its rules do not
        have, and for a function that does not return [R, A] float32."""
        self.functions: dict[str, tuple[Callable[[World, Any], Tensor | None], float]] = {}
        """Function and weight by a name for messages."""
        for name, (term, exists) in TERMS.items():
            weight = getattr(config, f"reward_{name}")
            if weight and not exists(config.world):
                raise ConfigError(
                    f"reward_{name} = {weight} rewards events that these rules do not have; choose preset "
                    "full, or 0."
                )
            if weight:
                self.functions[f"reward_{name}"] = term, weight
        if isinstance(config.reward, RewardFunction):
            self.functions["reward"] = config.reward.function, 1.0
        for system in config.world.systems:
            if type(system).reward is not System.reward:
                self.functions[f"the reward of system {type(system).__name__}"] = system.reward, 1.0
        self.kept: dict[str, Tensor] = {}
        self.begin(world)

    @torch.inference_mode(False)
    def begin(self, world: World) -> None:
        """Counts from the current world on. Finds out what the functions read of the state before a tick."""
        names: set[str] = set()
        for what, (function, _) in self.functions.items():
            _check(what, function(world, Before(Reading(world, names))), world)
        # In place if possible: a CUDA graph that adds rewards reads and writes the tensors of its capture.
        earlier, self.kept = self.kept, {}
        for name in sorted(names):
            now = world.tensor(name)
            self.kept[name] = earlier[name].copy_(now) if name in earlier else now.clone()

    def add(self, world: World, acting: Tensor, reward: Tensor) -> None:
        """Adds the rewards of a tick.

        Args:
            world: after the tick.
            acting: [R, A] bool, agents alive at the start of the tick; only they are rewarded, also those
                that died in it.
            reward: [R, A] float32, added to in place.
        """
        before = Before(self.kept)
        for what, (function, weight) in self.functions.items():
            gained = function(world, before)
            _check(what, gained, world)
            if gained is not None:
                reward += torch.where(acting, gained, 0.0) * weight
        for name, tensor in self.kept.items():
            tensor.copy_(world.tensor(name))


def _check(what: str, result: Tensor | None, world: World) -> None:
    expected = tuple(world.explored.shape)
    if result is None:
        return
    if isinstance(result, Tensor):
        if tuple(result.shape) == expected and result.dtype == torch.float32:
            return
        found = f"{result.dtype} {tuple(result.shape)}"
    else:
        found = type(result).__name__
    raise ConfigError(f"{what} is {found}; return torch.float32 {expected}: realms, slots.")
