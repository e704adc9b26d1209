"""What a system of one's own needs: see docs/extending."""

from __future__ import annotations

import dataclasses

import torch

from nmmo_gpu.config import EnvConfig, WorldConfig
from nmmo_gpu.config.bounds import Bounds, refuse
from nmmo_gpu.config.systems import ActionSpec, ObservationSpec, StateSpec, System, phase
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world.capturable import check_capturable
from nmmo_gpu.world.events import Event
from nmmo_gpu.world.harm import harm
from nmmo_gpu.world.phases import PHASES
from nmmo_gpu.world.random import below
from nmmo_gpu.world.regrowth import postpone as postpone_regrowth
from nmmo_gpu.world.sight import limit_sight
from nmmo_gpu.world.state import World

__all__ = [
    "PHASES", "ActionSpec", "Bounds", "Event", "ObservationSpec", "StateSpec", "System", "World",
    "WorldConfig", "below", "check_system", "harm", "limit_sight", "phase", "postpone_regrowth", "refuse",
]  # fmt: skip


def check_system(system: System, preset: str = "chaos", ticks: int = 40) -> None:
    """Plays a small world with a system, and checks what can be checked of it. Meant for tests.

    That its methods can be captured in a CUDA graph; that state and observations stay in their declared
    ranges, and nothing of the world breaks an invariant; that two equal worlds stay equal; and that a realm
    has the same history alone as among others.

    Args:
        system: the system.
        preset: the rules to add it to.
        ticks: how long to play.

    Raises ConfigError or WorldError."""
    from nmmo_gpu.config import presets

    world = presets.preset(preset, systems=(system,))
    whole = Env(EnvConfig(world=world, realms=3, seed=5, device="cpu", check=True))
    check_capturable(whole.config)
    twin = Env(whole.config)
    alone = Env(dataclasses.replace(whole.config, realms=1, first_realm=1))
    envs = (whole, twin, alone)
    for env in envs:
        env.reset()
    for _ in range(ticks):
        for env in envs:
            observation, *_ = env.step(random_actions(env))
            _check_ranges(system, env, observation)
    if whole.world.digest() != twin.world.digest():
        raise ConfigError(
            f"system {type(system).__name__}: two equal worlds have become different; draw random numbers "
            "only with System.draw, and keep state only in world.systems."
        )
    for (name, of_all), (_, of_one) in zip(whole.world.tensors(), alone.world.tensors(), strict=True):
        if name not in ("seed", "tick") and not torch.equal(of_all[1:2], of_one):
            raise ConfigError(
                f"system {type(system).__name__}: {name} of a realm depends on the other realms of the "
                "batch; do not mix values of different realms."
            )


def _check_ranges(system: System, env: Env, observation: dict[str, torch.Tensor]) -> None:
    observed, living = system.observe(env.world), observation["alive"]
    for name, spec in env.layout.system_fields.items():
        field = observation[name]
        # The values as well, because one that the dtype cannot hold may be in range in the field.
        values = observed[name.removeprefix(f"{system.name}.")].expand(field.shape)[living]
        low, high = (
            int(end) for end in torch.aminmax(torch.cat((field.flatten().long(), values.flatten().long())))
        )
        if low < spec.low or high > spec.high:
            raise ConfigError(
                f"system {type(system).__name__}: {name} is observed from {low} to {high}; declare that "
                "range, or clamp it."
            )
