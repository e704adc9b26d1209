"""The configuration of an environment."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Annotated, Any, Literal

from nmmo_gpu.config.bounds import Bounds, check_fields
from nmmo_gpu.config.seeds import Seed
from nmmo_gpu.config.world import WorldConfig
from nmmo_gpu.errors import ConfigError


@dataclass(frozen=True)
class RewardFunction:
    """A reward that a user computes: ``function(world, before)`` returns [R, A] float32.

    See ``nmmo_gpu.config.systems.System.reward`` for the arguments."""

    function: Callable[..., Any]
    """The function. Checkpoints store its module and name, so it has to be importable to load one."""

    def __post_init__(self) -> None:
        if not isinstance(self.function, FunctionType):
            raise ConfigError(
                f"reward = {self.function!r} is not a Python function; give one: def reward(world, before)."
            )


@dataclass(frozen=True)
class EnvConfig:
    """A batch of realms: rules, device and rewards."""

    world: WorldConfig = dataclasses.field(default_factory=WorldConfig)
    """The rules."""
    realms: Annotated[int, Bounds(ge=1, le=1 << 22)] = 64
    """Realms stepped together."""
    seed: Seed = 0
    """Seed of all random numbers, including the terrain; (seed, actions) reproduces a world."""
    first_realm: Annotated[int, Bounds(ge=0, le=(1 << 31) - 1)] = 0
    """Number of the first realm. A realm's map and random numbers depend only on (seed, its number), so
    realms can be distributed over several environments."""
    device: str = "auto"
    """Device of the world: "auto" (CUDA if available, else CPU), "cpu", "cuda", "cuda:1" ..."""
    backend: Literal["auto", "torch", "numba", "triton"] = "auto"
    """Implementation of the phases. All give identical bits: "torch" runs anywhere; "numba" is the fastest on
    a CPU, "triton" on a GPU; "auto" selects the fastest that is installed."""
    maps: tuple[str, ...] = ()
    """Tiled .tmx files to play on, assigned to the realms in turn; empty for generated terrain."""
    shared_map: bool = False
    """Generate one map for all realms instead of one per realm."""
    reward: Literal["alive", "death", "none"] | RewardFunction = "alive"
    """"alive" gives 1 for each tick survived; "death" gives -1 at death, as v1's native API does; "none"
    gives nothing. Or a function of the world and of what it was before the tick, see ``RewardFunction``; on
    the command line module:function, or file.py:function. What follows is added."""
    reward_experience: float = 0.0
    """Added for each point of experience, in any skill."""
    reward_level: float = 0.0
    """Added for each level gained."""
    reward_gold: float = 0.0
    """Added for each piece of gold gained, and subtracted for each spent; gold in an open offer counts as
    spent."""
    reward_kill: float = 0.0
    """Added for each agent or NPC killed."""
    reward_trade: float = 0.0
    """Added for each trade, for both sides."""
    reward_tile: float = 0.0
    """Added for each tile visited for the first time."""
    reward_death: float = 0.0
    """Added at death; use a negative value as a penalty."""
    check: bool = False
    """Validate the world after each step (``World.validate``), goods and ledger included, and stop if an
    invariant is broken. Waits for the device."""
    check_actions: bool | None = None
    """Check shape, dtype, device and range of actions in each step. None: only on a CPU, because reading
    the values stalls a GPU. Without this check the result of actions out of range is undefined: they
    can read or write other memory, and end the process."""

    def __post_init__(self) -> None:
        if callable(self.reward):
            object.__setattr__(self, "reward", RewardFunction(self.reward))
        check_fields(self)
