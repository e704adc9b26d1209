"""What a system of one's own needs: see docs/extending."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from nmmo_gpu.config import EnvConfig, WorldConfig, presets
from nmmo_gpu.config.bounds import Bounds, refuse
from nmmo_gpu.config.systems import ActionSpec, ObservationSpec, StateSpec, System, phase
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world.capturable import check_capturable
from nmmo_gpu.world.events import Event
from nmmo_gpu.world.harm import harm
from nmmo_gpu.world.phases import PHASES
from nmmo_gpu.world.random import below
from nmmo_gpu.world.regrowth import due as regrowth_due
from nmmo_gpu.world.regrowth import postpone as postpone_regrowth
from nmmo_gpu.world.sight import limit_sight
from nmmo_gpu.world.state import World

__all__ = [
    "PHASES", "ActionSpec", "Bounds", "Event", "ObservationSpec", "StateSpec", "System", "World",
    "WorldConfig", "below", "check_system", "harm", "limit_sight", "phase", "postpone_regrowth", "refuse",
    "regrowth_due",
]  # fmt: skip


def check_system(
    system: System | Sequence[System], preset: str = "chaos", ticks: int = 40, reward: Any = "alive"
) -> None:
    """Plays a small world with a system, and checks what can be checked of it. Meant for tests.

    That its methods can be captured in a CUDA graph; that state and observations stay in their declared
    ranges, and nothing of the world breaks an invariant; that its tensors are written, not replaced, and only
    by phases; that two equal worlds stay equal; and that a realm has the same history alone as among others.

    Args:
        system: the system, or several that belong together.
        preset: the rules to add it to.
        ticks: how long to play.
        reward: as ``EnvConfig.reward``, such as a function to be checked as well.

    Raises ConfigError or WorldError."""
    systems = (system,) if isinstance(system, System) else tuple(system)
    what = ", ".join(type(one).__name__ for one in systems)
    world = presets.preset(preset, systems=systems)
    config = EnvConfig(world=world, realms=3, seed=5, device="cpu", check=True, reward=reward)
    check_capturable(config)
    whole, twin = Env(config), Env(config)
    alone = Env(dataclasses.replace(config, realms=1, first_realm=1))
    envs = (whole, twin, alone)
    tensors = dict(whole.world.tensors())
    for env in envs:
        env.reset()
    for _ in range(ticks):
        for env in envs:
            env.step(random_actions(env))
    for name, tensor in whole.world.tensors():
        if tensor is not tensors[name]:
            raise ConfigError(
                f"system {what}: {name} was replaced by another tensor, which CUDA graphs would not see; "
                "write into it: tensor.copy_(values)."
            )
    if whole.world.digest() != twin.world.digest():
        raise ConfigError(
            f"system {what}: two equal worlds have become different; draw random numbers only with "
            "System.draw, and keep state only in world.systems."
        )
    for (name, of_all), (_, of_one) in zip(whole.world.tensors(), alone.world.tensors(), strict=True):
        if name not in ("seed", "tick") and not torch.equal(of_all[1:2], of_one):
            raise ConfigError(
                f"system {what}: {name} of a realm depends on the other realms of the batch; do not mix "
                "values of different realms."
            )
