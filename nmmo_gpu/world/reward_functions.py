"""Rewards that users compute from the world before and after a tick."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from nmmo_gpu.config import EnvConfig, RewardFunction
from nmmo_gpu.config.systems import System
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world.state import World, state_fields


class Before:
    """The state before a tick, by the names of the world's attributes: ``before.gold``,
    ``before.systems["daylight"]["light"]``.

    Only what the reward functions read when the environment begins is kept, because a copy of the whole state
    would take longer than the tick."""

    def __init__(self, kept: Mapping[str, Tensor]) -> None:
        self._kept = kept

    def __getattr__(self, name: str) -> Tensor:
        return _kept(self._kept, name)

    @property
    def systems(self) -> Mapping[str, Mapping[str, Tensor]]:
        """The state of systems, by system and name."""
        return _BySystem(self._kept)


class _BySystem(Mapping[str, Mapping[str, Tensor]]):
    def __init__(self, kept: Mapping[str, Tensor]) -> None:
        self._kept = kept

    def __getitem__(self, system: str) -> Mapping[str, Tensor]:
        return _OfSystem(self._kept, system)

    def __iter__(self) -> Any:
        return iter({name.partition(".")[0] for name in self._kept if "." in name})

    def __len__(self) -> int:
        return len(list(iter(self)))


class _OfSystem(Mapping[str, Tensor]):
    def __init__(self, kept: Mapping[str, Tensor], system: str) -> None:
        self._kept, self._system = kept, system

    def __getitem__(self, name: str) -> Tensor:
        return _kept(self._kept, f"{self._system}.{name}")

    def __iter__(self) -> Any:
        start = self._system + "."
        return (name[len(start) :] for name in self._kept if name.startswith(start))

    def __len__(self) -> int:
        return len(list(iter(self)))


def _kept(kept: Mapping[str, Tensor], name: str) -> Tensor:
    if name in kept:
        return kept[name]
    if isinstance(kept, _Reading):
        raise AttributeError(
            f"before.{name} does not exist; its tensors have the names of those of the world."
        )
    raise AttributeError(
        f"before.{name} is not kept: a reward has to read the same tensors of before in every call, and "
        "those of its first call are kept. Read it unconditionally."
    )


class _Reading(Mapping[str, Tensor]):
    """The whole state, which notes what is read."""

    def __init__(self, world: World, names: set[str]) -> None:
        self._world, self._names = world, names
        self._known = {field.name for field in state_fields(world.config)}

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __getitem__(self, name: str) -> Tensor:
        self._names.add(name)
        return self._world.tensor(name)

    def __iter__(self) -> Any:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


class RewardFunctions:
    """Calls the reward function of an EnvConfig, and ``reward`` of its systems, after each tick."""

    def __init__(self, config: EnvConfig, world: World) -> None:
        self.functions: dict[str, Callable[[World, Any], Tensor | None]] = {}
        if isinstance(config.reward, RewardFunction):
            self.functions["reward"] = config.reward.function
        for system in config.world.systems:
            if type(system).reward is not System.reward:
                self.functions[f"the reward of system {type(system).__name__}"] = system.reward
        self.kept: dict[str, Tensor] = {}

    @torch.inference_mode(False)
    def begin(self, world: World) -> None:
        """Finds out what the functions read, and keeps it. Raises ConfigError for a wrong result."""
        names: set[str] = set()
        for what, function in self.functions.items():
            _checked(what, function(world, Before(_Reading(world, names))), world)
        self.kept = {name: world.tensor(name).clone() for name in sorted(names)}

    def add(self, world: World, acting: Tensor, reward: Tensor) -> None:
        """Adds the rewards of this tick to ``reward``, [R, A] float32, of the agents that acted."""
        before = Before(self.kept)
        for what, function in self.functions.items():
            gained = _checked(what, function(world, before), world)
            if gained is not None:
                reward += torch.where(acting, gained, 0.0)
        for name, tensor in self.kept.items():
            tensor.copy_(world.tensor(name))


def _checked(what: str, result: Tensor | None, world: World) -> Tensor | None:
    expected = tuple(world.explored.shape)
    if result is None:
        return None
    if not isinstance(result, Tensor) or tuple(result.shape) != expected or result.dtype != torch.float32:
        found = (
            f"{result.dtype} {tuple(result.shape)}" if isinstance(result, Tensor) else type(result).__name__
        )
        raise ConfigError(f"{what} is {found}; return torch.float32 {expected}: realms, slots.")
    return result
